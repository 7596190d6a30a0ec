"""From the bodies of match and search to what is looked for, and from what was found to answers."""

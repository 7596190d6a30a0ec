"""Pictures and catalogue files in ZIP and tar archives, of which nothing is unpacked into folders."""

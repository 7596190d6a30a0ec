"""What reusing the decisions of still scenes saves on the demo's feeds, and what it costs in accuracy."""

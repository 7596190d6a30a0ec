"""Pictures that a catalogue file names: in folders, archives and at web addresses."""

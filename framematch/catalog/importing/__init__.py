"""From a catalogue file to products and pictures in MongoDB."""

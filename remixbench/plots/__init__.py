"""Pictures of a clip and of what a network attended to in it, good enough to be printed."""

"""The networks: encoders, pooling, decoder, and the registry that names their combinations."""

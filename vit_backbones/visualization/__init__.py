"""Pictures of what encoders and their heads make of an image."""

"""The messages of the stream: generated code, and experiences to records and back."""

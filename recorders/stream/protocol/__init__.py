"""Contains the protobuf messages of the stream, and the conversion of experiences to records and back."""

//! Bytes on the wire for a picture of 4 × 4 pixels.

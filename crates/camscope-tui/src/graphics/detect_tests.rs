//! What is chosen, from the answers of terminals.

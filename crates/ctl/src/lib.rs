//! The command line tools that speak to a node.

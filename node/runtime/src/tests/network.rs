//! Sockets over the pod network.

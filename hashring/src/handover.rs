//! Changing over from one table to the next, without a read ever missing an acknowledged write.

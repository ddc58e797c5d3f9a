//! Shrinking: what is left still fails in the same way, elsewhere too, and no step of it can go.

mod minimal;
mod synthetic;

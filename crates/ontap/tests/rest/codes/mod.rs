//! Each code of the contract that this release answers, reached as its trigger says.
//!
//! A test's name begins with the code: the page on codes names it, and a code without one fails a test.

mod barbican;
mod key_managers;
mod public;
mod table;

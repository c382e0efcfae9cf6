//! A hierarchy in use: any operations in any order, on a store and a keeper that fail where the input says so, beside a model
//! of what was acknowledged.

mod model;
mod process;
mod script;
mod world;

use world::World;

/// Instructions of four bytes each, see `script.rs`.
pub fn engine(data: &[u8]) {
    let mut world = World::new();
    for step in script::steps(data) {
        world.take(&step);
    }
    world.end();
}

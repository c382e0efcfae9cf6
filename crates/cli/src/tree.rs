//! Lines drawn as a tree.

use std::fmt;

/// A line, and the lines that belong to it.
pub(crate) struct Tree {
    line: String,
    children: Vec<Tree>,
}

impl Tree {
    pub(crate) fn new(line: String, children: Vec<Self>) -> Self {
        Self { line, children }
    }

    pub(crate) fn leaf(line: String) -> Self {
        Self::new(line, Vec::new())
    }

    fn draw_children(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        for (place, child) in self.children.iter().enumerate() {
            let (branch, below) = match place + 1 == self.children.len() {
                true => ("└── ", "    "),
                false => ("├── ", "│   "),
            };
            write!(f, "\n{indent}{branch}{}", child.line)?;
            child.draw_children(f, &format!("{indent}{below}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)?;
        self.draw_children(f, "")
    }
}

#[cfg(test)]
mod tests {
    use super::Tree;

    #[test]
    fn a_tree_is_drawn_with_its_branches() {
        let leaf = |line: &str| Tree::leaf(line.to_owned());
        let tree = Tree::new(
            "root".to_owned(),
            vec![Tree::new("a".to_owned(), vec![leaf("b"), leaf("c")]), Tree::new("d".to_owned(), vec![leaf("e")])],
        );
        let drawn = "root\n├── a\n│   ├── b\n│   └── c\n└── d\n    └── e";
        assert_eq!(tree.to_string(), drawn);
    }
}

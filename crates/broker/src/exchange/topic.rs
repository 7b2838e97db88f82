//! The topic exchange: a message goes where a pattern of words matches its routing key.
//!
//! Words are what stands between dots. In a pattern `*` is exactly one word, which may be empty, and `#` any number of
//! words, none included. An empty key has no words at all. The patterns of an exchange form a trie over their words.

use std::hash::{Hash, Hasher};

use hashbrown::Equivalent;

use super::targets::Targets;
use crate::hash::Map;
use crate::topology::{Binding, Routes, Target};
use crate::{Error, Name};

/// How many `#` a pattern may have: each one multiplies the ways in which a key can match.
const WILDCARDS_MAX: usize = 2;

const ONE_WORD: &str = "*";
const ANY_WORDS: &str = "#";

/// The node of the empty pattern. No node is its parent, so the number also stands for "no child".
const ROOT: NodeIndex = 0;

type NodeIndex = u32;

/// Refuses patterns whose matching would cost too much.
pub(super) fn check_binding(routing_key: &Name) -> Result<(), Error> {
    let wildcards = words(routing_key).filter(|word| *word == ANY_WORDS).count();
    if wildcards > WILDCARDS_MAX {
        return Err(Error::TooManyWildcards { routing_key: Name::clone(routing_key), wildcards });
    }
    Ok(())
}

fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').filter(move |_| !key.is_empty())
}

/// The bindings of a topic exchange as a trie over the words of their keys.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    nodes: Vec<Node>,
    /// Nodes that stand for nothing at present.
    free: Vec<NodeIndex>,
    /// The children under words that are no wildcards, of all nodes in one map: a map per node would cost more.
    children: Map<Edge, NodeIndex>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// What the pattern that ends here leads to.
    targets: Targets,
    /// How many children under plain words it has.
    children: u32,
    one_word: NodeIndex,
    any_words: NodeIndex,
    takes: Takes,
}

/// What a node takes from the key before its children have their turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Takes {
    #[default]
    OneWord,
    AnyWords,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Edge {
    parent: NodeIndex,
    word: Box<str>,
}

/// An [`Edge`] to look for, which needs no allocation.
struct EdgeRef<'a> {
    parent: NodeIndex,
    word: &'a str,
}

impl Hash for Edge {
    fn hash<H: Hasher>(&self, state: &mut H) {
        EdgeRef { parent: self.parent, word: &self.word }.hash(state);
    }
}

impl Hash for EdgeRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parent.hash(state);
        self.word.hash(state);
    }
}

impl Equivalent<Edge> for EdgeRef<'_> {
    fn equivalent(&self, edge: &Edge) -> bool {
        self.parent == edge.parent && *self.word == *edge.word
    }
}

/// Where matching stands: the words of the key from `offset` on are to be matched from this node on.
#[derive(Clone, Copy, Debug)]
struct State {
    node: NodeIndex,
    offset: usize,
    below: Below,
}

/// Whether a `#` was passed on the way. If so, the same node can be reached at several offsets and in several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Below {
    Words,
    Wildcard,
}

/// The memory matching needs, kept from message to message.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    states: Vec<State>,
    /// From which offset on a `#` below another `#` has been tried.
    tried: Map<NodeIndex, usize>,
}

impl Default for Topic {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new(), children: Map::default() }
    }
}

impl Topic {
    pub(super) fn insert(&mut self, binding: &Binding) {
        self.insert_pattern(binding.routing_key(), binding.target());
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.remove_pattern(binding.routing_key(), binding.target());
    }

    fn insert_pattern(&mut self, pattern: &str, target: &Target) {
        let mut index = ROOT;
        for word in words(pattern) {
            index = match self.child(index, word) {
                Some(child) => child,
                None => self.add_child(index, word),
            };
        }
        if let Some(node) = self.node_mut(index) {
            node.targets.insert(target);
        }
    }

    fn remove_pattern(&mut self, pattern: &str, target: &Target) {
        let mut path = Vec::new();
        let mut index = ROOT;
        for word in words(pattern) {
            let Some(child) = self.child(index, word) else { return };
            path.push((index, word, child));
            index = child;
        }
        if let Some(node) = self.node_mut(index) {
            node.targets.remove(target);
        }
        // A node without bindings and children matches nothing, and its parent may now be such a node.
        while let Some((parent, word, child)) = path.pop() {
            if self.node(child).is_some_and(|node| !node.is_unused()) {
                return;
            }
            self.remove_child(parent, word, child);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.node(ROOT).is_none_or(Node::is_unused)
    }

    fn node(&self, index: NodeIndex) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    fn node_mut(&mut self, index: NodeIndex) -> Option<&mut Node> {
        self.nodes.get_mut(index as usize)
    }

    fn child(&self, parent: NodeIndex, word: &str) -> Option<NodeIndex> {
        let node = self.node(parent)?;
        match word {
            ONE_WORD => Some(node.one_word).filter(|child| *child != ROOT),
            ANY_WORDS => Some(node.any_words).filter(|child| *child != ROOT),
            _ => self.children.get(&EdgeRef { parent, word }).copied(),
        }
    }

    fn add_child(&mut self, parent: NodeIndex, word: &str) -> NodeIndex {
        let takes = if word == ANY_WORDS { Takes::AnyWords } else { Takes::OneWord };
        let node = Node { takes, ..Node::default() };
        let child = if let Some(index) = self.free.pop() {
            if let Some(free) = self.node_mut(index) {
                *free = node;
            }
            index
        } else {
            self.nodes.push(node);
            NodeIndex::try_from(self.nodes.len() - 1).unwrap_or(NodeIndex::MAX)
        };
        let Some(node) = self.node_mut(parent) else { return child };
        match word {
            ONE_WORD => node.one_word = child,
            ANY_WORDS => node.any_words = child,
            _ => {
                node.children += 1;
                self.children.insert(Edge { parent, word: word.into() }, child);
            }
        }
        child
    }

    fn remove_child(&mut self, parent: NodeIndex, word: &str, child: NodeIndex) {
        let Some(node) = self.node_mut(parent) else { return };
        match word {
            ONE_WORD => node.one_word = ROOT,
            ANY_WORDS => node.any_words = ROOT,
            _ => {
                node.children -= 1;
                self.children.remove(&EdgeRef { parent, word });
            }
        }
        self.free.push(child);
        // An exchange whose bindings come and go in waves gives its memory back in between.
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Adds the targets of all patterns that match; says whether there was any.
    ///
    /// No pair of node and offset is visited twice, so the cost is at most nodes times words. Where no `#` was passed
    /// this is so because a node has one parent. A `#` tries all offsets from where it is reached to the end, so when
    /// it is reached again it tries only those that are new.
    pub(super) fn route(&self, key: &str, routes: &mut Routes) -> bool {
        // The state is taken out, as the routes are lent to the targets meanwhile.
        let mut scratch = std::mem::take(&mut routes.topic);
        let found = self.route_with(key, &mut scratch, routes);
        routes.topic = scratch;
        found
    }

    fn route_with(&self, key: &str, scratch: &mut Scratch, routes: &mut Routes) -> bool {
        // One past the dot that could follow the last word: an offset that is not beyond has a word, maybe an empty one.
        let end = key.len() + 1;
        let offset = if key.is_empty() { end } else { 0 };
        if !scratch.tried.is_empty() {
            scratch.tried.clear();
        }
        let mut found = false;
        scratch.states.push(State { node: ROOT, offset, below: Below::Words });
        while let Some(state) = scratch.states.pop() {
            let Some(node) = self.node(state.node) else { continue };
            match node.takes {
                Takes::OneWord => {
                    if node.any_words != ROOT {
                        scratch.states.push(State { node: node.any_words, ..state });
                    }
                    if state.offset == end {
                        found |= node.targets.collect(routes);
                    } else {
                        self.push_children(key, state, node, scratch);
                    }
                }
                Takes::AnyWords => {
                    let tried = match state.below {
                        Below::Words => None,
                        Below::Wildcard => scratch.tried.get(&state.node).copied(),
                    };
                    let until = tried.unwrap_or(end);
                    if tried.is_some() && until <= state.offset {
                        continue;
                    }
                    if state.below == Below::Wildcard {
                        scratch.tried.insert(state.node, state.offset);
                    }
                    found |= node.targets.collect(routes);
                    self.push_any_words(key, until, state, node, scratch);
                }
            }
        }
        found
    }

    /// Goes on below a `#` from every word up to `until`.
    fn push_any_words(&self, key: &str, until: usize, state: State, node: &Node, scratch: &mut Scratch) {
        if node.any_words != ROOT {
            scratch.states.push(State { node: node.any_words, below: Below::Wildcard, ..state });
        }
        if node.one_word == ROOT && node.children == 0 {
            return;
        }
        let mut offset = state.offset;
        while offset < until {
            offset = self.push_children(key, State { offset, below: Below::Wildcard, ..state }, node, scratch);
        }
    }

    /// Goes on with the children that take the word at the offset of the state; returns the offset of the next word.
    fn push_children(&self, key: &str, state: State, node: &Node, scratch: &mut Scratch) -> usize {
        let rest = key.get(state.offset..).unwrap_or_default();
        let word = rest.split_once('.').map_or(rest, |(word, _)| word);
        let offset = state.offset + word.len() + 1;
        if node.one_word != ROOT {
            scratch.states.push(State { node: node.one_word, offset, below: state.below });
        }
        if node.children != 0
            && let Some(child) = self.children.get(&EdgeRef { parent: state.node, word })
        {
            scratch.states.push(State { node: *child, offset, below: state.below });
        }
        offset
    }
}

impl Node {
    fn is_unused(&self) -> bool {
        self.children == 0 && self.one_word == ROOT && self.any_words == ROOT && self.targets.is_empty()
    }
}

#[cfg(test)]
mod tests;

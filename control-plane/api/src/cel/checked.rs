//! What the checker knows of an expression: its type, what it costs, and how large it can be, as far as Kubernetes' estimates
//! follow it.

use super::eval::Node;
use super::types::{Type, UNBOUNDED};
use super::value::Val;

/// An expression that was checked.
pub struct Checked {
    pub node: Node,
    pub ty: Type,
    /// Units that evaluating it costs at most.
    pub cost: u64,
    pub depth: usize,
    /// Most bytes, items or entries that it holds; None: that is not known.
    pub size: Option<u64>,
    pub place: Place,
    /// Sizes of what it holds, where the expression made it.
    pub entry: Option<Entry>,
}

/// Where in what was declared a value is from, as far as Kubernetes' estimates follow it.
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// The expression made it.
    #[default]
    None,
    At(Type),
    /// Nothing is declared there.
    Lost,
}

/// Sizes of what a made list or map holds.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub kind: Holder,
    pub key: u64,
    pub value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    List,
    Map,
}

impl Place {
    /// Where the items of a list and the values of a map are.
    #[must_use]
    pub fn item(&self) -> Self {
        self.below(|ty| match ty {
            Type::List(list) => Some(list.item.clone()),
            Type::Map(map) => Some(map.value.clone()),
            _ => None,
        })
    }

    /// Where the keys of a map are.
    #[must_use]
    pub fn key(&self) -> Self {
        self.below(|ty| if let Type::Map(map) = ty { Some(map.key.clone()) } else { None })
    }

    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.below(|ty| match ty {
            Type::Object(object) => object.field(name).map(|field| field.ty.clone()),
            _ => None,
        })
    }

    fn below(&self, step: impl FnOnce(&Type) -> Option<Type>) -> Self {
        match self {
            Self::At(ty) => step(ty).map_or(Self::Lost, Self::At),
            Self::None | Self::Lost => Self::Lost,
        }
    }

    /// The size that is declared there.
    #[must_use]
    pub fn declared(&self) -> Option<u64> {
        if let Self::At(ty) = self { Some(ty.elements()) } else { None }
    }
}

impl Entry {
    /// Of what is one of the two, or made of both.
    pub fn union(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        let (a, b) = a.zip(b)?;
        Some(Self { kind: a.kind, key: a.key.max(b.key), value: a.value.max(b.value) })
    }
}

impl Checked {
    #[must_use]
    pub fn new(node: Node, ty: Type, cost: u64, depth: usize) -> Self {
        let size = ty.is_scalar().then_some(1);
        Self { node, ty, cost, depth, size, place: Place::None, entry: None }
    }

    #[must_use]
    pub fn sized(self, size: Option<u64>) -> Self {
        Self { size, ..self }
    }

    /// Of a value that is declared there.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { size: place.declared().or(self.size), place, ..self }
    }

    #[must_use]
    pub fn holding(self, entry: Option<Entry>) -> Self {
        Self { entry, ..self }
    }

    /// Most bytes, items or entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.unwrap_or(UNBOUNDED)
    }

    /// What stands for an expression with an error: it agrees with everything.
    #[must_use]
    pub fn wrong() -> Self {
        Self::new(Node::Const(Val::Null), Type::Free, 0, 0)
    }
}

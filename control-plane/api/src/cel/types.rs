//! Types of expressions, as far as CEL's checker tells them apart, with the largest sizes that values of them can have.

use std::fmt;
use std::sync::Arc;

/// A size that nothing bounds.
pub const UNBOUNDED: u64 = u64::MAX;

/// The type of an expression or of a declared variable.
#[derive(Clone, Debug, Default)]
pub enum Type {
    /// Anything; what is done with it is judged when it is evaluated.
    #[default]
    Dyn,
    /// A whole number or a text (`x-kubernetes-int-or-string`) of at most so many bytes: handled as `Dyn`.
    IntOrString(u64),
    /// Not said yet: the items of `[]`. Agrees with every type.
    Free,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    /// At most so many bytes.
    String(u64),
    /// At most so many bytes.
    Bytes(u64),
    Duration,
    Timestamp,
    List(Arc<ListType>),
    Map(Arc<MapType>),
    Object(Arc<ObjectType>),
    Optional(Arc<Type>),
    /// The type of types.
    Type,
    Opaque(Opaque),
}

/// The types of Kubernetes' libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opaque {
    Url,
    Quantity,
    Ip,
    Cidr,
    Format,
    Semver,
    Authorizer,
    PathCheck,
    GroupCheck,
    ResourceCheck,
    Decision,
}

/// How two lists compare and add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    #[default]
    Atomic,
    /// `x-kubernetes-list-type: set`: the order does not matter.
    Set,
    /// `x-kubernetes-list-type: map`, by these keys.
    Map(Vec<String>),
}

#[derive(Clone, Debug, Default)]
pub struct ListType {
    pub item: Type,
    /// Most items.
    pub max: u64,
    pub kind: ListKind,
}

#[derive(Clone, Debug)]
pub struct MapType {
    pub key: Type,
    pub value: Type,
    /// Most entries.
    pub max: u64,
}

/// An object with declared fields.
#[derive(Clone, Debug, Default)]
pub struct ObjectType {
    /// How messages name it.
    pub name: String,
    /// Sorted by `name`.
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub struct Field {
    /// As expressions write it: `__dot__` for a dot and so on.
    pub name: String,
    /// As objects have it.
    pub property: String,
    pub ty: Type,
}

impl ObjectType {
    #[must_use]
    pub fn new(name: &str, mut fields: Vec<Field>) -> Self {
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Self { name: name.to_owned(), fields }
    }

    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        let find = |name: &str| {
            let at = self.fields.binary_search_by(|field| field.name.as_str().cmp(name)).ok()?;
            self.fields.get(at)
        };
        // `self.namespace` reads as `self.__namespace__`: after a dot words that CEL reserves are names.
        find(name).or_else(|| super::decl::is_reserved(name).then(|| find(&format!("__{name}__"))).flatten())
    }

    /// The field that objects call so.
    #[must_use]
    pub fn by_property(&self, property: &str) -> Option<&Field> {
        let same = self.field(property).filter(|field| field.property == property);
        same.or_else(|| self.fields.iter().find(|field| field.property == property))
    }

    /// How many fields are declared.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Opaque {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Url => "kubernetes.URL",
            Self::Quantity => "kubernetes.Quantity",
            Self::Ip => "net.IP",
            Self::Cidr => "net.CIDR",
            Self::Format => "kubernetes.NamedFormat",
            Self::Semver => "kubernetes.Semver",
            Self::Authorizer => "kubernetes.authorization.Authorizer",
            Self::PathCheck => "kubernetes.authorization.PathCheck",
            Self::GroupCheck => "kubernetes.authorization.GroupCheck",
            Self::ResourceCheck => "kubernetes.authorization.ResourceCheck",
            Self::Decision => "kubernetes.authorization.Decision",
        }
    }
}

impl Type {
    #[must_use]
    pub fn list(item: Self, max: u64) -> Self {
        Self::List(Arc::new(ListType { item, max, kind: ListKind::Atomic }))
    }

    #[must_use]
    pub fn map(key: Self, value: Self, max: u64) -> Self {
        Self::Map(Arc::new(MapType { key, value, max }))
    }

    #[must_use]
    pub fn optional(inner: Self) -> Self {
        Self::Optional(Arc::new(inner))
    }

    #[must_use]
    pub const fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::IntOrString(_) | Self::Free)
    }

    /// Whether nothing is known of it, and nothing will be.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Dyn | Self::IntOrString(_))
    }

    /// The most elements (bytes, items, entries) of a declared value, as Kubernetes counts them: none of what has no size.
    #[must_use]
    pub fn elements(&self) -> u64 {
        /// Bytes of a time in JSON.
        const TIME: u64 = 32;
        match self {
            Self::String(max) | Self::Bytes(max) | Self::IntOrString(max) => *max,
            Self::List(list) => list.max,
            Self::Map(map) => map.max,
            Self::Duration | Self::Timestamp => TIME,
            _ => 0,
        }
    }

    /// Whether all values are of one size.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        match self {
            Self::Bool | Self::Int | Self::Uint | Self::Double | Self::Duration | Self::Timestamp => true,
            Self::Optional(inner) => inner.is_scalar(),
            _ => false,
        }
    }

    const fn can_be_null(&self) -> bool {
        matches!(self, Self::Object(_) | Self::Opaque(_) | Self::Duration | Self::Timestamp | Self::Null)
    }

    /// Whether values of the two types can stand for each other.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (a, b) if a.is_dyn() || b.is_dyn() => true,
            (Self::Null, other) | (other, Self::Null) => other.can_be_null(),
            (Self::List(a), Self::List(b)) => a.item.agrees(&b.item),
            (Self::Map(a), Self::Map(b)) => a.key.agrees(&b.key) && a.value.agrees(&b.value),
            (Self::Optional(a), Self::Optional(b)) => a.agrees(b),
            (Self::Object(a), Self::Object(b)) => Arc::ptr_eq(a, b) || a.name == b.name,
            (Self::Opaque(a), Self::Opaque(b)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// The type of a value that is of one of the two; they agree.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Free, other) | (other, Self::Free) => other.clone(),
            (a, b) if a.is_dyn() || b.is_dyn() => Self::Dyn,
            (Self::Null, other) | (other, Self::Null) => other.clone(),
            (Self::String(a), Self::String(b)) => Self::String(*a.max(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Self::Bytes(*a.max(b)),
            (Self::List(a), Self::List(b)) => Self::list(a.item.join(&b.item), a.max.max(b.max)),
            (Self::Map(a), Self::Map(b)) => Self::map(a.key.join(&b.key), a.value.join(&b.value), a.max.max(b.max)),
            (Self::Optional(a), Self::Optional(b)) => Self::optional(a.join(b)),
            _ if self.agrees(other) => self.clone(),
            _ => Self::Dyn,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn | Self::IntOrString(_) | Self::Free => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String(_) => f.write_str("string"),
            Self::Bytes(_) => f.write_str("bytes"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List(list) => write!(f, "list({})", list.item),
            Self::Map(map) => write!(f, "map({}, {})", map.key, map.value),
            Self::Object(object) => f.write_str(&object.name),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
            Self::Type => f.write_str("type"),
            Self::Opaque(opaque) => f.write_str(opaque.name()),
        }
    }
}

/// The names of types, as values.
pub fn type_constant(name: &str) -> Option<&'static str> {
    const NAMES: &[&str] = &[
        "bool",
        "bytes",
        "double",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "type",
        "uint",
        "optional_type",
        "google.protobuf.Duration",
        "google.protobuf.Timestamp",
        "net.IP",
        "net.CIDR",
        "kubernetes.URL",
        "kubernetes.Quantity",
        "kubernetes.Semver",
    ];
    NAMES.iter().find(|known| **known == name).copied()
}

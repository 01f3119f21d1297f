//! What writers write: each transaction follows from its identity, so that whoever finds one knows all of it.

use std::fmt;
use std::str::FromStr;

use store::{Txn, Value};

/// A transaction's identity: the `number`th of a writer in one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub life: u32,
    pub writer: u32,
    pub number: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.life, self.writer, self.number)
    }
}

impl FromStr for Id {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.').map(str::parse);
        let mut next = || parts.next().unwrap_or_else(|| "".parse());
        Ok(Self { life: next()?, writer: next()?, number: next()? })
    }
}

/// One key that a transaction writes or deletes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    pub key: String,
    pub is_put: bool,
}

impl Id {
    fn hash(self) -> u32 {
        let mixed = self.life.wrapping_mul(0x9E37_79B1) ^ self.writer.wrapping_mul(0x85EB_CA77);
        let mixed = (mixed ^ self.number.wrapping_mul(0xC2B2_AE3D)).wrapping_mul(0x27D4_EB2F);
        mixed ^ (mixed >> 15)
    }

    /// Everything it does. Every transaction writes at least its writer's own key.
    pub fn effects(self) -> Vec<Effect> {
        let put = |key: String| Effect { key, is_put: true };
        let own = |name: &str| format!("writer/{}/{name}", self.writer);
        let mut effects = vec![put(own("last"))];
        match self.hash() % 8 {
            0 | 1 => effects.push(put(own("pair"))),
            2 => effects.push(Effect { key: own("pair"), is_put: false }),
            3 => effects.push(put(format!("log/{}", self.hash() / 8 % 300))),
            4 => effects.extend((0..5).map(|index| put(format!("block/{}/{index}", self.writer)))),
            _ => {}
        }
        if self.swaps() {
            effects.push(put("hot".into()));
        }
        effects
    }

    /// Whether it depends on nobody else having changed `hot`.
    pub fn swaps(self) -> bool {
        (self.hash() / 64).is_multiple_of(4)
    }

    /// What it writes to each key: its identity, and enough bytes that the file's pages differ in size.
    pub fn value(self) -> Value {
        let filler = match self.hash() / 512 % 128 {
            0 => 150_000,
            small => small as usize * 12,
        };
        let text = format!("{self} {}", self.hash().to_string().repeat(filler / 10));
        Value { body: text.into_bytes().into(), index: self.number.to_string().into_bytes().into() }
    }

    /// The transaction; `hot` is the revision that the hot key was last seen at.
    pub fn txn(self, hot: u64) -> Txn {
        let txn = if self.swaps() { Txn::new().require("hot", hot) } else { Txn::new() };
        self.effects().into_iter().fold(txn, |txn, effect| match effect.is_put {
            true => txn.put(effect.key, self.value()),
            false => txn.delete(effect.key),
        })
    }

    /// The identity of whoever wrote `value`, if every byte of it is as it was written.
    pub fn of(value: &Value) -> Option<Self> {
        let text = str::from_utf8(&value.body).ok()?;
        let id: Self = text.split(' ').next()?.parse().ok()?;
        (id.value() == *value).then_some(id)
    }
}

//! `serde` for single numbers: text in human-readable formats, as a JSON number loses bits above
//! 2⁵³. // H29

use crate::{Generation, LamportTime};
use alloc::string::{String, ToString};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! number {
    ($type:ty, $value:ident) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(&self.$value())
                } else {
                    serializer.serialize_u64(self.$value())
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if !deserializer.is_human_readable() {
                    return u64::deserialize(deserializer).map(Self::new);
                }
                let text = String::deserialize(deserializer)?;
                // One number has one text: no sign, no leading zeros.
                let number = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
                number.map(Self::new).ok_or_else(|| D::Error::custom("not a number's only text"))
            }
        }
    };
}

number!(LamportTime, value);
number!(Generation, as_u64);

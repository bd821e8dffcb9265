//! How the tree shows an instant: the name of its directory, and that directory's time.
//! Dates of any other form are resolved in `top`.

use crate::model::{Time, Timestamp};

pub(super) fn instant_name(at: Time) -> Vec<u8> {
    format!("@{}", at.view_name()).into_bytes()
}

pub(super) fn instant_stamp(at: Time) -> Timestamp {
    Timestamp { seconds: at.0, nanos: 0 }
}

//! Parts that somebody brought become a list, and requests are written for those who carry them to the bricks.
//!
//! Promises: a list is what `asof gluster full` or `inc` would write that asked the same bricks at the same moments. Nobody is asked for a merge.

use super::lines::Each;
use super::{lists, window};
use crate::clock::Clock;
use crate::jobs::take::gluster::{Error, load_started};
use crate::model::Finding;
use crate::monitor::Monitor;
use crate::source::gluster::Settings;
use crate::source::gluster::collect::{self, Parts, collect_parts, window_of_parts};
use crate::source::gluster::part::Request;

/// Returns a request for each brick of the volume, with the number of the brick and its machine; `span` in unix seconds, none for everything.
///
/// # Errors
/// [`Error`].
pub fn requests(
    settings: &Settings,
    span: Option<(u64, u64)>,
    clock: &dyn Clock,
) -> Result<Vec<(u32, String, Request)>, Error> {
    let volume = load_started(settings)?;
    let made_ns = clock.now().0.saturating_mul(1_000_000_000);
    let hosts = volume.bricks.iter().map(|brick| brick.host.clone());
    let requests = collect::requests(&volume, span, made_ns);
    Ok(requests.into_iter().zip(hosts).map(|((number, request), host)| (number, host, request)).collect())
}

/// Calls `each` for every line of the list that `parts` come to, and returns what was found amiss.
///
/// # Errors
/// [`collect::Error::ToAsk`] in [`Error::Collect`] where bricks have to tell more; those of `each`.
pub fn list_parts<E: From<Error>>(
    parts: &Parts,
    (clock, monitor): (&dyn Clock, &dyn Monitor),
    each: &mut Each<'_, E>,
) -> Result<Vec<Finding>, E> {
    match parts.span() {
        None => {
            let mut collected = collect_parts(parts, clock, monitor).map_err(Error::from)?;
            lists::list_collected(&mut collected, monitor, each)
        }
        Some(span) => {
            let told = window_of_parts(parts, span, clock, monitor).map_err(Error::from)?;
            window::list_windowed(told, monitor, each)
        }
    }
}

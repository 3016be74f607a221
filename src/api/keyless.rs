//! Who may use the protocols that know no keys.

use super::{Peer, error::ApiError};
use crate::config::{Access, Share};

/// The share that `peer` has in such protocols.
///
/// # Errors
/// It may not use the service, or is on another machine and those protocols are for this one.
pub(super) fn share(peer: &Peer, access: &Access) -> Result<Share, ApiError> {
    if peer.is_elsewhere() && !access.wyoming_network() {
        return Err(ApiError::only_local_wyoming());
    }
    peer.share(access).ok_or_else(|| ApiError::forbidden(peer))
}

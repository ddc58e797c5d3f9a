//! Disks that rot: a replica starts and finds that entries it may have acknowledged are gone. One
//! at a time, for two at once may be a majority that lost the same entry.

use super::disk::Durable;
use super::replica::{Replica, Setup, Step, World};
use quorate_raft::{Body, LogId, Message};
use quorate_sim::{Ctx, NodeId, Rng};

/// What a campaign must have met.
pub(crate) const MUST_HAPPEN: [&str; 2] = ["disk damaged", "damaged disk repaired"];

/// Of a million starts so many find damage, if no other disk is damaged.
const DAMAGE_PPM: u32 = 80_000;

/// The disk of `id` may have rotted while it was down.
pub(crate) fn may_strike(
    ctx: &mut Ctx<'_>,
    setup: &Setup,
    world: &mut World,
    id: NodeId,
    rng: &mut Rng,
) {
    let struck = rng.chance(DAMAGE_PPM) && setup.rots();
    let Some(disk) = world.disks.get_mut(&id) else { return };
    let holds_entries = disk.durable.last() > LogId::ZERO;
    if struck && holds_entries && world.damaged.is_none() && !world.quiet {
        ctx.reached("disk damaged");
        world.damaged = Some(id);
        lose_entries(&mut disk.durable);
    }
}

/// The log is gone, the snapshot is not; hard state and founders are known. What was acknowledged
/// is bounded by the former end of the log.
fn lose_entries(log: &mut Durable) {
    log.hard.lost = log.hard.lost.max(log.last().index).max(log.hard.commit);
    log.start = log.snapshot.as_ref().map_or(LogId::ZERO, |(meta, _)| meta.last);
    log.hard.commit = log.start.index;
    log.blocks.clear();
}

impl Setup {
    /// Whether disks of this group rot: one that is repaired does not vote, and of a small group
    /// the others must not depend on a slow line.
    pub(crate) fn rots(&self) -> bool {
        self.members.len() >= 5
    }
}

impl Replica {
    /// A replica that lost entries elects nobody; once it has them again, its disk says so.
    pub(crate) fn check_damage(&self, ctx: &mut Ctx<'_>, message: &Message) -> Step {
        if self.raft.lost().is_some()
            && matches!(
                message.body,
                Body::VoteResp { granted: true, .. } | Body::PreVoteResp { granted: true, .. }
            )
        {
            return Err(format!("node {} votes, although it lost entries", self.id));
        }
        let mut world = self.world.borrow_mut();
        let known =
            world.disks.get(&self.id).is_some_and(|disk| disk.durable.hard.lost.value() > 0);
        if world.damaged == Some(self.id) && !known && self.raft.lost().is_none() {
            ctx.reached("damaged disk repaired");
            world.damaged = None;
        }
        Ok(())
    }
}

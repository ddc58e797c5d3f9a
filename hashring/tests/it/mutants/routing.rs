//! Bugs of routing, key ranges and their cache.

use super::Mutant;

pub(crate) const MUTANTS: &[Mutant] = &[
    ("m28_cap_by_floor", "hazards::routing::h27_the_first_permit_goes_to_the_owner"),
    ("m29_permit_lost_on_rebuilt", "hazards::routing::h27_permits_survive_changes_of_membership"),
    (
        "m30_log_compared_by_integer_division",
        "hazards::routing::h06_reweighting_makes_no_two_others_trade_keys",
    ),
    ("m31_maglev_skip_without_one", "hazards::routing::h29_maglev_always_fills"),
    ("m32_shards_by_modulo", "hazards::routing::h24_shards_overlap_like_random_ones"),
    ("m34_split_keeps_the_left_epoch", "hazards::ranges::h40_split_makes_both_halves_newer"),
    (
        "m35_cache_learns_older_ranges",
        "hazards::ranges::h40_late_answer_does_not_replace_a_newer_one",
    ),
];

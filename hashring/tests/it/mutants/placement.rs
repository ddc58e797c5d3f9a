//! Bugs of topologies, rings, tables and the solver.

use super::Mutant;

pub(crate) const MUTANTS: &[Mutant] = &[
    (
        "m1_vnodes_scaled_by_total_weight",
        "hazards::placement::h01_tokens_depend_on_the_nodes_own_weight_only",
    ),
    (
        "m2_colliding_token_overwrites",
        "hazards::placement::h02_colliding_tokens_are_kept_and_ordered",
    ),
    (
        "m3_decimal_concatenation_in_tokens",
        "hazards::placement::h03_no_two_nodes_spell_the_same_token",
    ),
    ("m4_nodes_unsorted", "hazards::placement::h09_positions_come_from_sorted_ids"),
    ("m5_walk_without_distinctness", "hazards::placement::h24_a_walk_meets_each_node_once"),
    (
        "m6_walk_stops_at_the_end",
        "hazards::placement::h07_replica_lists_hold_distinct_nodes_also_around_the_end",
    ),
    ("m7_start_inclusive_end_exclusive", "hazards::placement::h28_bounds_and_their_neighbours"),
    ("m8_lost_wrap_segment", "contract::tables_and_rings_tile_the_key_space"),
    (
        "m9_modulo_partitions",
        "hazards::placement::h25_doubling_moves_no_key_because_partitions_are_top_bits",
    ),
    (
        "m10_targets_ignore_the_node_cap",
        "hazards::solver::h14_an_overweight_node_is_cropped_and_reported",
    ),
    ("m11_high_plus_one", "solver::solver"),
    ("m12_fill_ignores_costs", "solver::solver"),
    ("m13_no_transfer_step", "solver::solver"),
    ("m14_end_with_stale_potential", "solver::solver"),
    ("m15_primaries_are_the_first_kept", "hazards::solver::h15_primaries_are_even_too"),
    (
        "m33_trailing_bytes_accepted",
        "props::codec::no_changed_byte_and_no_other_length_is_accepted",
    ),
];

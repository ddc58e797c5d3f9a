//! Bugs of the hand-over.

use super::Mutant;

const MODEL: &str = "model::every_order_of_steps_keeps_acknowledged_writes_readable";

pub(crate) const MUTANTS: &[Mutant] = &[
    (
        "m16_diff_skips_rows_of_unequal_length",
        "props::handover::a_diff_applied_to_the_old_table_gives_the_new_one",
    ),
    ("m17_copy_before_the_source_acked", MODEL),
    ("m18_copy_from_any_one_holder", MODEL),
    ("m19_switched_before_the_last_copy", MODEL),
    ("m20_settled_without_read_blocking", MODEL),
    ("m21_read_blocking_by_one_replica", MODEL),
    ("m22_tag_minus_one_accepted", MODEL),
    // Where one of three moves, a majority of the union is one of both rows.
    (
        "m23_majority_of_the_union_instead_of_joint",
        "hazards::handover::h21_a_joint_quorum_is_neither_inflated_nor_a_majority_of_the_union",
    ),
    (
        "m24_admit_without_re_check",
        "hazards::handover::h33_installing_and_admitting_threads_never_pass_each_other",
    ),
    (
        "m25_acked_ignores_open_passes",
        "hazards::handover::h33_an_epoch_is_acknowledged_once_older_passes_are_back",
    ),
    (
        "m26_equal_epoch_other_digest_accepted",
        "hazards::handover::h18_one_epoch_with_two_contents_is_refused",
    ),
    (
        "m27_all_row_epochs_bumped_by_a_transition",
        "hazards::handover::h19_a_change_touches_the_epochs_of_the_rows_that_it_changes",
    ),
];

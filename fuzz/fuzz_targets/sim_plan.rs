//! Any text as a plan: no panic; an error names a line that is there; what is accepted says the
//! same when written and read again, whole and step by step.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_sim::{Fault, Plan};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let plan = match text.parse::<Plan>() {
        Ok(plan) => plan,
        Err(error) => {
            assert!((1..=text.lines().count()).contains(&error.line), "{error}");
            return;
        }
    };
    let written = plan.to_string();
    assert_eq!(written.parse::<Plan>().as_ref(), Ok(&plan), "{written}");
    for (_, fault) in plan.steps {
        let written = fault.to_string();
        assert_eq!(written.parse::<Fault>(), Ok(fault), "{written}");
    }
});

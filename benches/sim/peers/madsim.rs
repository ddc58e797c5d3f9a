//! madsim: in a process of its own, since it needs `--cfg madsim`. See `benches/sim/madsim`.

use crate::flood::Window;
use quorate_benches::turns::Contender;
use std::process::Command;

const NAME: &str = "madsim";

/// It, if `QUORATE_MADSIM` names its binary.
pub(crate) fn contender<'a>(window: Window) -> Option<Contender<'a>> {
    let program = std::env::var_os("QUORATE_MADSIM")?;
    Some(Contender::new(NAME, move || {
        let ran = Command::new(&program)
            .args([window.depth, window.count].map(|n| n.to_string()))
            .output();
        let ran = ran.expect("it can be run");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let said = String::from_utf8(ran.stdout).expect("a number");
        said.trim().parse().expect("nanoseconds of an echo")
    }))
}

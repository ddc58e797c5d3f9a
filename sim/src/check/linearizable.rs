//! [`Linearizable`]: a history that no single service could have produced.

use super::{Checker, Observation, View};
use crate::{Recorder, STEPS_MAX, Spec, linearizable};

/// Fails when the run is over and what the clients saw has no order that the model allows, or none
/// was found within [`STEPS_MAX`] steps: a verdict that was given up is no pass. // H12
///
/// # Shape
/// Judges the whole history once, at the end, as [`linearizable`] does; the failure shows the
/// counterexample. A run that something else stopped is not judged.
///
/// # Examples
/// ```
/// use quorate_sim::specs::{CasRegister, RegisterOp, RegisterRet};
/// use quorate_sim::{ConfigError, Linearizable, Recorder, Sim, SimConfig, SimTime};
///
/// let recorder = Recorder::new();
/// let mut sim = Sim::new(SimConfig::lan(1).build()?);
/// sim.add_checker(Linearizable::new(CasRegister, &recorder));
/// let read = recorder.invoke(SimTime::ZERO, 1, RegisterOp::Read);
/// recorder.ok(read, SimTime::from_nanos(5), RegisterRet::Value(Some(7))); // nobody wrote it
/// assert_eq!(sim.finish().unwrap_err().checker, "linearizable");
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Linearizable<S: Spec> {
    spec: S,
    recorder: Recorder<S::Op, S::Ret>,
}

impl<S: Spec> Linearizable<S> {
    /// What this recorder holds in the end, against this model.
    #[must_use]
    pub fn new(spec: S, recorder: &Recorder<S::Op, S::Ret>) -> Self {
        Self { spec, recorder: recorder.clone() }
    }
}

impl<S> Checker for Linearizable<S>
where
    S: Spec<Op: 'static, Ret: 'static> + 'static,
{
    fn name(&self) -> String {
        "linearizable".to_owned()
    }

    fn observe(&mut self, _: View<'_>, _: &Observation) -> Result<(), String> {
        Ok(())
    }

    fn finish(&mut self, _: View<'_>) -> Result<(), String> {
        let verdict = linearizable(&self.spec, &self.recorder.history(), STEPS_MAX);
        verdict.into_order().map(drop)
    }
}

//! EXPOSE: ports of the container, in lower case, and nothing of the host.

use super::findings::Here;
use super::rule::Rule;
use crate::dockerfile::Step;
use crate::plan::PortSpec;

/// One port, variables expanded. A port that is none is the instruction's own error.
pub(super) fn check(step: &Step, port: &str, here: &mut Here<'_, '_>) {
    let Ok(spec) = PortSpec::parse(port) else { return };
    if spec.protocol.contains(|c: char| c.is_ascii_uppercase()) {
        let detail = format!("the protocol of `{port}` should be in lower case");
        here.add(Rule::ExposeProtoCasing, &step.location, detail);
    }
    if spec.names_the_host {
        let detail = format!(
            "`{port}` names an address or a port of the host, which EXPOSE does not publish: write `{}`",
            spec.container()
        );
        here.add(Rule::ExposeInvalidFormat, &step.location, detail);
    }
}

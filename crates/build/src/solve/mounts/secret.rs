//! `type=secret`: bytes that only one RUN sees.
//!
//! As a file they are in memory, in the container's own mounts, and gone with it: no disk, layer, key or message holds them.
//! As a variable they are in the environment of the step's processes, and nowhere else.

use shipway_sandbox::GeneratedFile;

use super::Mounts;
use crate::dockerfile::RunMount;
use crate::error::StepError;
use crate::solve::stage::Stage;

impl Stage<'_> {
    pub(super) fn secret(
        &self,
        mount: RunMount,
        target: String,
        mounts: &mut Mounts,
    ) -> Result<(), StepError> {
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let id = mount.secret_id().to_owned();
        self.build.recorder.secret(&id, mount.required);
        let owner = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
        mounts.canonical.push(format!(
            "{:?}",
            (
                "secret",
                (!mount.target.is_empty()).then_some(&target),
                &id,
                &mount.env,
                mount.mode,
                owner
            )
        ));
        let Some(secret) = self.build.request.secrets.get(&id) else {
            return if mount.required {
                Err(StepError::NoSecret { id })
            } else {
                Ok(())
            };
        };
        if let Some(name) = mount.env {
            let name = if name.is_empty() { id.clone() } else { name };
            // What the kernel would refuse must not be quoted by whoever tells of it.
            let text = std::str::from_utf8(secret.expose())
                .ok()
                .filter(|text| !text.contains('\0') && !name.contains(['=', '\0']));
            let Some(text) = text else {
                return Err(StepError::SecretVariable { id, name });
            };
            mounts.secret_env.push(format!("{name}={text}"));
            if mount.target.is_empty() {
                return Ok(());
            }
        }
        let path = if mount.target.is_empty() {
            // Of an id that is a path the last part names the file.
            format!("/run/secrets/{}", last(&id))
        } else {
            target
        };
        mounts.files.push(GeneratedFile {
            path: path.into(),
            bytes: secret.expose().to_vec(),
            mode: mount.mode.unwrap_or(0o400),
            owner,
            read_only: true,
        });
        Ok(())
    }
}

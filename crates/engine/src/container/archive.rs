//! `docker cp` and `docker export`: files of a container as a tar, in and out.
//!
//! A tar is streamed while it is made; what fails before its first byte is still a proper error. An upload is kept whole
//! before any of it reaches the container, running or not.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::HeaderValue;
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::json;
use shipway_sandbox::{FileKind, FileStatus, rooted};
use time::OffsetDateTime;

use super::record::Record;
use crate::clock::rfc3339;
use crate::dispatch::Call;
use crate::engine::Inner;
use crate::failure::{Failure, told};
use crate::intake::{self, MOST_UPLOAD};
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::tar_stream;

impl Inner {
    /// `HEAD`: what is there.
    pub(crate) async fn stat_archive(&self, record: &Record, query: &Query) -> Result<Reply, Failure> {
        let path = Asked::new(query)?;
        let status = self.status(record, &path).await?;
        let mut reply = reply::empty(StatusCode::OK);
        describe(&mut reply, &path, &status);
        Ok(reply)
    }

    /// `GET`: it and what is below.
    pub(crate) async fn get_archive(&self, record: &Arc<Record>, query: &Query) -> Result<Reply, Failure> {
        let path = Asked::new(query)?;
        let status = self.status(record, &path).await?;
        let mut reply = match path.top.filter(|_| status.kind == FileKind::Directory) {
            Some(top) => contents(record, path.clean.clone(), top).await?,
            None => {
                let parent = path.clean.parent().unwrap_or(Path::new("/")).to_owned();
                archive(record, path.clean.clone(), parent).await?
            }
        };
        describe(&mut reply, &path, &status);
        Ok(reply)
    }

    pub(crate) async fn export_container(&self, record: &Arc<Record>) -> Result<Reply, Failure> {
        let writer = Arc::clone(record);
        tar_stream::answer(|output| {
            tokio::spawn(async move {
                let exported = writer.container.export(output).await;
                exported.map_err(|error| told(&error))
            })
        })
        .await
    }

    /// `PUT`: the upload is taken first, so that the client reads whatever is answered.
    pub(crate) async fn put_archive(&self, container: &str, call: Call) -> Result<Reply, Failure> {
        let body = call.request.into_body();
        let upload = intake::spool(body, &self.spool_directory(), MOST_UPLOAD, self.pod.written()).await?;
        let record = self.containers.find(container)?;
        let path = Asked::new(&call.query)?;
        let status = self.status(&record, &path).await?;
        if status.resolved != Some(FileKind::Directory) {
            return Err(Failure::bad_request(format!(
                "extraction point {} is not a directory",
                path.clean.display()
            )));
        }
        let file = upload
            .file()
            .try_clone()
            .map_err(|error| Failure::internal(format!("cannot read the upload back: {error}")))?;
        let extracted = record.container.extract(OwnedFd::from(file), &path.clean).await;
        extracted.map_err(|error| Failure::bad_request(told(&error)))?;
        Ok(reply::empty(StatusCode::OK))
    }

    async fn status(&self, record: &Record, path: &Asked) -> Result<FileStatus, Failure> {
        let found = record
            .container
            .stat(&path.clean)
            .await
            .map_err(|error| Failure::internal(told(&error)))?;
        found.ok_or_else(|| {
            Failure::not_found(format!(
                "Could not find the file {} in container {}",
                path.clean.display(),
                record.name()
            ))
        })
    }
}

/// The path of a request.
struct Asked {
    clean: PathBuf,
    /// What the names begin with when only what is in the directory is meant: `./` for `dir/.`, and `/` for `/`, in whose
    /// place clients put the name of where it goes.
    top: Option<&'static [u8]>,
}

impl Asked {
    fn new(query: &Query) -> Result<Asked, Failure> {
        let text = query
            .get("path")
            .ok_or_else(|| Failure::bad_request("missing parameter: path"))?;
        if text.contains('\0') || text.len() > 4095 {
            return Err(Failure::bad_request("the path is none"));
        }
        let clean = rooted(text);
        let top: Option<&[u8]> = if text == "." || text.ends_with("/.") {
            Some(b"./")
        } else if clean == Path::new("/") {
            Some(b"/")
        } else {
            None
        };
        Ok(Asked { clean, top })
    }
}

fn describe(reply: &mut Reply, path: &Asked, status: &FileStatus) {
    let name = path
        .clean
        .file_name()
        .map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned());
    let modified = OffsetDateTime::from_unix_timestamp(status.mtime).ok();
    let stat = json!({
        "name": name,
        "size": status.size,
        "mode": go_mode(status),
        "mtime": rfc3339(modified),
        "linkTarget": status.link.as_ref().map(|link| link.to_string_lossy().into_owned()).unwrap_or_default(),
    });
    if let Ok(value) = HeaderValue::from_str(&STANDARD.encode(stat.to_string())) {
        reply.headers_mut().insert("x-docker-container-path-stat", value);
    }
}

/// Go's own numbering of file modes.
fn go_mode(status: &FileStatus) -> u32 {
    let kind = match status.kind {
        FileKind::File => 0,
        FileKind::Directory => 1 << 31,
        FileKind::Link => 1 << 27,
        FileKind::Other => 1 << 19,
    };
    let bit = |unix: u32, go: u32| if status.mode & unix == 0 { 0 } else { 1 << go };
    kind | (status.mode & 0o777) | bit(0o4000, 23) | bit(0o2000, 22) | bit(0o1000, 20)
}

async fn archive(record: &Arc<Record>, path: PathBuf, relative_to: PathBuf) -> Result<Reply, Failure> {
    let writer = Arc::clone(record);
    tar_stream::answer(|output| {
        tokio::spawn(async move {
            writer
                .container
                .archive(&path, &relative_to, output)
                .await
                .map_err(|error| told(&error))
        })
    })
    .await
}

/// The contents of a directory, named below `top`: what clients rename by.
async fn contents(record: &Arc<Record>, directory: PathBuf, top: &'static [u8]) -> Result<Reply, Failure> {
    let (plain, far) = pipe_with(PipeFlags::CLOEXEC)
        .map_err(|errno| Failure::internal(format!("cannot make a pipe: {errno}")))?;
    let writer = Arc::clone(record);
    let archiving = tokio::spawn(async move {
        writer
            .container
            .archive(&directory, &directory, far)
            .await
            .map_err(|error| told(&error))
    });
    tar_stream::answer(|output| {
        tokio::spawn(async move {
            let (from, to) = (std::fs::File::from(plain), std::fs::File::from(output));
            let renamed = tokio::task::spawn_blocking(move || rename_below(top, from, to)).await;
            archiving
                .await
                .map_err(|_| "the archive's writer ended early".to_owned())??;
            renamed
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())
        })
    })
    .await
}

/// Puts `top` before every name and a directory of that name before every entry.
fn rename_below(top: &[u8], from: impl Read, to: impl Write) -> io::Result<()> {
    let mut reader = tar::Archive::new(from);
    let mut writer = tar::Builder::new(to);
    let mut first = tar::Header::new_gnu();
    first.set_entry_type(tar::EntryType::Directory);
    first.set_mode(0o755);
    first.set_size(0);
    append_as(&mut writer, first, top, None, io::empty())?;
    for entry in reader.entries()? {
        let mut entry = entry?;
        let below = |name: &[u8]| [top, name.strip_prefix(b"./").unwrap_or(name)].concat();
        let name = below(&entry.path_bytes());
        let kind = entry.header().entry_type();
        let target = entry.link_name_bytes().map(|target| match kind {
            tar::EntryType::Link => below(&target),
            _ => target.into_owned(),
        });
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(entry.size());
        header.set_mode(entry.header().mode()?);
        header.set_uid(entry.header().uid()?);
        header.set_gid(entry.header().gid()?);
        header.set_mtime(entry.header().mtime()?);
        append_as(&mut writer, header, &name, target.as_deref(), &mut entry)?;
    }
    writer.finish()
}

/// Appends an entry under exactly this name: the builder's own ways drop a leading `./`.
fn append_as(
    writer: &mut tar::Builder<impl Write>,
    mut header: tar::Header,
    name: &[u8],
    target: Option<&[u8]>,
    content: impl Read,
) -> io::Result<()> {
    let mut long = |kind: u8, text: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
        header.set_size(text.len() as u64 + 1);
        header.set_cksum();
        writer.append(&header, text.chain(&b"\0"[..]))
    };
    if name.len() > 100 {
        long(b'L', name)?;
    }
    if let Some(target) = target.filter(|target| target.len() > 100) {
        long(b'K', target)?;
    }
    let old = header.as_old_mut();
    let short = |text: &[u8], field: &mut [u8; 100]| {
        let length = text.len().min(field.len());
        field[..length].copy_from_slice(&text[..length]);
    };
    short(name, &mut old.name);
    short(target.unwrap_or_default(), &mut old.linkname);
    header.set_cksum();
    writer.append(&header, content)
}

#[cfg(test)]
mod tests;

//! Request bodies: small ones into memory, uploads to a blocking reader or an unnamed file, all bounded.
//!
//! Apart because a Go client stops sending once an answer begins and then reports "broken pipe" instead of our message:
//! whoever refuses an upload early must drain it first. What is drained is bounded in bytes, not trusted in length.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use shipway_store::{Meter, MeteredFile};
use tokio::sync::mpsc;

use crate::failure::Failure;

/// A JSON body of any request; the largest are create requests with thousands of variables. They are kept as long as
/// their container, so this times the number of containers is memory.
pub(crate) const MOST_JSON: usize = 1 << 20;
/// A build context, an image archive, a `docker cp`.
pub(crate) const MOST_UPLOAD: u64 = 64 << 30;

/// The whole body, if it is small.
pub(crate) async fn small<B>(body: B) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collected = Limited::new(body, MOST_JSON).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            Failure::too_large(format!("the request body is larger than {MOST_JSON} bytes"))
        } else {
            Failure::bad_request(format!("cannot read the request body: {error}"))
        }
    })?;
    Ok(collected.to_bytes())
}

/// The body as JSON; an empty one is the default.
pub(crate) async fn json<T, B>(body: B) -> Result<T, Failure>
where
    T: DeserializeOwned + Default,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let bytes = small(body).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::bad_request(format!("the request body is not what it should be: {error}")))
}

/// Runs `work`, which blocks, over the body while it arrives; what `work` leaves unread is read and forgotten.
///
/// A body that breaks off or is too long is an error of the reader too, never an early end.
pub(crate) async fn read_with<B, T>(
    body: B,
    limit: u64,
    work: impl FnOnce(BodyReader) -> T + Send + 'static,
) -> Result<T, Failure>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
    T: Send + 'static,
{
    let (sender, receiver) = mpsc::channel(16);
    let working = tokio::task::spawn_blocking(move || {
        work(BodyReader {
            receiver,
            chunk: Bytes::new(),
        })
    });
    let fed = feed(body, limit, sender).await;
    let done = working
        .await
        .map_err(|_| Failure::internal("the reader of the upload ended early"))?;
    fed.map(|()| done)
}

/// Writes the body into an unnamed file in `directory`, which counts for `meter` while it is there, and returns it, rewound.
pub(crate) async fn spool<B>(
    body: B,
    directory: &Path,
    limit: u64,
    meter: &Meter,
) -> Result<MeteredFile, Failure>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let (directory, meter) = (directory.to_owned(), meter.clone());
    let written = read_with(body, limit, move |mut reader| -> io::Result<MeteredFile> {
        let mut file = MeteredFile::new(unnamed(&directory)?, &meter);
        io::copy(&mut reader, &mut file)?;
        file.file().rewind()?;
        Ok(file)
    });
    written
        .await?
        .map_err(|error| Failure::internal(format!("cannot keep the upload: {error}")))
}

async fn feed<B>(mut body: B, limit: u64, sender: mpsc::Sender<io::Result<Bytes>>) -> Result<(), Failure>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut total = 0u64;
    while let Some(frame) = body.frame().await {
        let chunk = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => {
                let failure = Failure::bad_request(format!("the upload broke off: {error}"));
                let _ = sender.send(Err(io::Error::other(failure.clone()))).await;
                return Err(failure);
            }
        };
        total = total.saturating_add(chunk.len() as u64);
        if total > limit {
            let failure = Failure::too_large(format!("the upload is larger than {limit} bytes"));
            let _ = sender.send(Err(io::Error::other(failure.clone()))).await;
            return Err(failure);
        }
        // A reader that had enough is no reason to stop: the client only reads our answer once it has sent all.
        let _ = sender.send(Ok(chunk)).await;
    }
    Ok(())
}

/// A body as a blocking reader.
pub(crate) struct BodyReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}

/// Reads and forgets what the client still sends, so that it goes on to read our answer.
pub(crate) async fn drain<B>(mut body: B)
where
    B: Body<Data = Bytes> + Unpin,
{
    /// A client that sends nothing for so long reads nothing either.
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut total = 0u64;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(PATIENCE, body.frame()).await {
        total = total.saturating_add(frame.data_ref().map_or(0, |chunk| chunk.len() as u64));
        if total > MOST_UPLOAD {
            return;
        }
    }
}

/// A file without a name, gone with its last descriptor.
fn unnamed(directory: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    match open(
        directory,
        OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    ) {
        Ok(descriptor) => Ok(File::from(descriptor)),
        // Some file systems of containers have no unnamed files.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
            let path = directory.join(format!("upload-{}", crate::name::identifier()));
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests;

//! `docker save` and `docker load`.

use std::io::{BufReader, BufWriter, Write as _};

use http::StatusCode;
use serde_json::json;
use shipway_container::{Loaded, SaveImage};
use shipway_oci::Reference;

use crate::dispatch::Call;
use crate::engine::Inner;
use crate::event::EventKind;
use crate::failure::{Failure, told};
use crate::intake::{self, MOST_UPLOAD};
use crate::reply::{self, JSON, Reply};
use crate::tar_stream;

/// Images of one archive.
const MOST_IMAGES: usize = 256;

impl Inner {
    pub(crate) async fn save_images(&self, names: Vec<String>) -> Result<Reply, Failure> {
        if names.is_empty() || names.len() > MOST_IMAGES {
            return Err(Failure::bad_request(format!(
                "docker save takes 1 to {MOST_IMAGES} names"
            )));
        }
        let mut images: Vec<SaveImage> = Vec::new();
        for name in &names {
            let image = self.find_image(name).await?;
            // Who asks by id gets no names.
            let named = image
                .reference
                .clone()
                .filter(|reference| Reference::parse(name).is_ok_and(|asked| asked == *reference));
            match images
                .iter_mut()
                .find(|other| other.image.manifest == image.manifest)
            {
                Some(other) => other.references.extend(named),
                None => images.push(SaveImage {
                    references: named.into_iter().collect(),
                    image,
                }),
            }
        }
        let store = self.images.clone();
        let work = tokio::task::spawn_blocking;
        tar_stream::answer(|output| {
            work(move || {
                let mut output = BufWriter::with_capacity(256 * 1024, std::fs::File::from(output));
                store.save(&images, &mut output).map_err(|error| told(&error))?;
                output.flush().map_err(|error| error.to_string())
            })
        })
        .await
    }

    pub(crate) async fn load_images(&self, call: Call) -> Result<Reply, Failure> {
        let (images, scope) = (self.images.clone(), self.scope.clone());
        let loading = intake::read_with(call.request.into_body(), MOST_UPLOAD, move |archive| {
            images.load(BufReader::with_capacity(256 * 1024, archive), &scope)
        });
        let loaded = loading
            .await?
            .map_err(|error| Failure::bad_request(told(&error)))?;
        let mut text = String::new();
        for Loaded { image, references } in &loaded {
            self.events.tell(EventKind::Image, "load", image.id.as_ref(), []);
            let mut line = |line: String| {
                text.push_str(&json!({ "stream": line }).to_string());
                text.push_str("\r\n");
            };
            for reference in references {
                line(format!("Loaded image: {}\n", reference.familiar()));
            }
            if references.is_empty() {
                line(format!("Loaded image ID: {}\n", image.id));
            }
        }
        Ok(reply::bytes(StatusCode::OK, JSON, text))
    }
}

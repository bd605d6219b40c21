//! How long it takes from "run this image" to the first byte of its output, with the image unpacked already.
//!
//! `cargo run --release -p shipway-container --example first_byte ROOTFS.tar [ROUNDS]`: the tar needs `/bin/sh`.

#![allow(clippy::print_stdout)]

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::Context;
use shipway_container::{
    AttachFrom, ContainerOptions, Egress, ExcessSignal, ImportOptions, Network, PodOptions, Runtime,
    RuntimeOptions,
};
use shipway_registry::{Client, ClientOptions};
use shipway_sandbox::IdMap;
use shipway_store::{Meter, Scope, Store};

fn main() -> anyhow::Result<()> {
    shipway_sandbox::enter_keeper_if_asked();
    tokio::runtime::Runtime::new()?.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let tar = File::open(arguments.next().context("which tar?")?)?;
    let rounds: usize = arguments.next().map_or(Ok(30), |rounds| rounds.parse())?;
    let directory = tempfile::tempdir()?;
    let store = Store::open(&directory.path().join("store"))?;
    let client = Client::new(ClientOptions::default())?;
    let options = RuntimeOptions::new(directory.path(), store, client, IdMap::detect()?);
    let runtime = Runtime::open(options).await?;
    let image = runtime
        .images()
        .import(tar, ImportOptions::new(Scope::user(), None))?;
    let egress = Egress::detect([])?;

    let warm = runtime
        .start_pod(PodOptions {
            name: "warm".into(),
            egress: egress.clone(),
            excess: ExcessSignal::default(),
            written: Meter::default(),
        })
        .await?;
    let started = Instant::now();
    warm.ensure_layers(&image).await?;
    println!(
        "unpacking              {:8.2} ms",
        milliseconds(started.elapsed())
    );
    warm.close().await;

    for (name, network) in [("without network", Network::None), ("with network", Network::Pod)] {
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..rounds {
            let start = Instant::now();
            let pod = runtime
                .start_pod(PodOptions {
                    name: "pod".into(),
                    egress: egress.clone(),
                    excess: ExcessSignal::default(),
                    written: Meter::default(),
                })
                .await?;
            times[0].push(start.elapsed());
            let mut options = ContainerOptions::new(image.clone());
            options.command = Some(["/bin/sh", "-c", "echo up"].map(str::to_owned).into());
            options.network = network;
            let container = pod.create(options).await?;
            times[1].push(start.elapsed());
            let mut output = container.attach(AttachFrom::Now, false).output;
            container.start().await?;
            times[2].push(start.elapsed());
            output.chunk().await?.context("no output")?;
            times[3].push(start.elapsed());
            container.wait().await;
            pod.close().await;
        }
        println!("{name}, medians from the start of the pod");
        for (step, times) in ["pod", "container made", "process started", "first byte"]
            .iter()
            .zip(&mut times)
        {
            times.sort();
            println!("  {step:20} {:8.2} ms", milliseconds(times[times.len() / 2]));
        }
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

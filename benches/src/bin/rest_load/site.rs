//! The service, over a hierarchy of many SVMs.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::{Arena, ArenaOptions, Engine, KeyMemory, NewVolume, ObjectRef, OnboardMode, Options, Protection, SvmId};
use claviger_benches::create_all;
use claviger_ontap::{Caller, Role, Service};
use claviger_server::{DevSite, Registry, Server};
use serde_json::Value;
use tower_service::Service as _;
use uuid::Uuid;

use crate::wrk::Load;

/// How many threads make volumes: one commit can make several durable.
const MAKERS: usize = 8;

/// One key in so many is a volume's, which is made alone; the others are drives', and made in bulk.
const KEYS_FOR_A_VOLUME: usize = 10;

/// How much there is.
pub(crate) struct Size {
    pub(crate) svms: usize,
    /// Of each SVM.
    pub(crate) keys: usize,
}

/// The service and its engine, in this process.
pub(crate) struct Site {
    pub(crate) engine: Arc<Engine>,
    pub(crate) url: String,
    /// The header that a login needs.
    pub(crate) authorization: String,
    /// One of the SVMs, and objects of it that have keys.
    pub(crate) svm: SvmId,
    pub(crate) objects: Vec<ObjectRef>,
    api: Router,
    runtime: tokio::runtime::Runtime,
    server: Server,
}

impl Site {
    pub(crate) fn serve(dir: &Path, size: &Size) -> Result<Self> {
        let arena = Arena::new(&ArenaOptions { keys: 8_192, states: 4_096, accept: Protection::Unlocked })?;
        let options = Options { memory: KeyMemory::Shared(arena.clone()), ..Options::default() };
        let dev = DevSite::prepare(Some(dir), None, &arena)?;
        let engine = Arc::new(dev.open(options)?);
        let passphrase = engine.passphrase(b"the passphrase of a benchmark, 32 bytes and more")?;
        engine.create_onboard(OnboardMode::Unattended, &passphrase)?;
        let svms = (0..size.svms).map(|number| Ok(engine.create_svm(&format!("svm{number:06}").parse()?)?.id()));
        let svms = svms.collect::<Result<Vec<_>>>()?;
        let objects = fill(&engine, &svms, size.keys)?;

        let api = claviger_ontap::router(Arc::new(Service::new(engine.clone())));
        let server = Server::start(&dev.config, engine.clone(), Registry::default(), api.clone())?;
        let login = [dev.user.as_str().as_bytes(), b":", dev.password.expose()].concat();
        Ok(Self {
            url: format!("https://{}", server.address()),
            authorization: format!("Authorization: Basic {}", STANDARD.encode(login)),
            svm: *svms.first().context("there must be an SVM")?,
            objects,
            api,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            engine,
            server,
        })
    }

    /// The answer to a GET, without the service around the API.
    pub(crate) fn get(&self, address: &str) -> Result<Value> {
        let request = Request::get(address).header(header::ACCEPT, "application/json").body(Body::empty())?;
        Ok(serde_json::from_slice(self.answer(request)?.body())?)
    }

    /// An answer to such a request.
    pub(crate) fn example(&self, load: &Load) -> Result<Response<Bytes>> {
        self.answer(load.example()?)
    }

    fn answer(&self, mut request: Request<Body>) -> Result<Response<Bytes>> {
        request.extensions_mut().insert(Caller { name: "benchmark".to_owned(), role: Role::Admin });
        let address = request.uri().to_string();
        let (head, body) = self.runtime.block_on(self.api.clone().call(request))?.into_parts();
        let body = self.runtime.block_on(to_bytes(body, usize::MAX))?;
        ensure!(head.status.is_success(), "{address}: {}, {}", head.status, String::from_utf8_lossy(&body));
        Ok(Response::from_parts(head, body))
    }

    pub(crate) fn stop(self) {
        self.server.stop();
    }
}

/// Gives each SVM so many keys. Returns the objects of the first SVM that have them.
fn fill(engine: &Engine, svms: &[SvmId], keys: usize) -> Result<Vec<ObjectRef>> {
    let share = svms.len().div_ceil(MAKERS).max(1);
    let made = thread::scope(|scope| {
        let make = |svms: &[SvmId]| svms.iter().map(|svm| fill_one(engine, *svm, keys)).collect::<Result<Vec<_>>>();
        let makers: Vec<_> = svms.chunks(share).map(|svms| scope.spawn(move || make(svms))).collect();
        let join = |maker: thread::ScopedJoinHandle<'_, _>| maker.join().unwrap_or_else(|_| bail!("a maker broke off"));
        makers.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    made.into_iter().flatten().next().context("there must be an SVM")
}

fn fill_one(engine: &Engine, svm: SvmId, keys: usize) -> Result<Vec<ObjectRef>> {
    let volumes = keys / KEYS_FOR_A_VOLUME;
    let make = |number| {
        let volume = engine.create_volume(svm, &NewVolume::encrypted(format!("vol{number:06}").parse()?))?;
        Ok(ObjectRef::Volume(volume.id))
    };
    let mut objects = (0..volumes).map(make).collect::<Result<Vec<_>>>()?;
    let drives: Vec<_> = (volumes..keys).map(|_| ObjectRef::Drive(Uuid::new_v4())).collect();
    create_all(engine, svm, &drives)?;
    objects.extend(drives);
    Ok(objects)
}

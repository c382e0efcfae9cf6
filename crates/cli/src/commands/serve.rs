//! `claviger serve`.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use claviger::{
    Arena, ArenaOptions, Engine, KeyMemory, OpenEngineError, Options, Protection, SealingSource, SecretBytes, StoreKind,
};
use claviger_ontap::Service;
use claviger_server::{Background, Config, DevSite, FactsFile, FactsPath, Log, LogFormat, Overrides, Registry, Server};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::LOG_VARIABLE;
use crate::args::{Common, ServeArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::remote;
use crate::session::STORE_DIR;

/// What of the common options the service heeds.
pub(crate) struct Given {
    dir: Option<PathBuf>,
    json: bool,
    danger_accept_rollback: bool,
}

impl Given {
    pub(crate) fn of(common: &Common) -> Self {
        let Common { dir, json, danger_accept_rollback, .. } = common;
        Self { dir: dir.clone(), json: *json, danger_accept_rollback: *danger_accept_rollback }
    }
}

/// All that is served, over one engine.
fn routers(engine: &Arc<Engine>, store: StoreKind, commands: &Background) -> Router {
    let api = claviger_ontap::router(Arc::new(Service::new(Arc::clone(engine))));
    api.merge(remote::router(Arc::clone(engine), store, commands.clone()))
}

pub(crate) fn run(args: ServeArgs, given: &Given) -> Result<Exit, Failure> {
    match args.dev {
        true => try_out(&args, given)?,
        false => serve_configured(args, given)?,
    }
    Ok(Exit::Done)
}

fn serve_configured(args: ServeArgs, given: &Given) -> Result<(), Failure> {
    let overrides = Overrides { listen: args.listen, data_dir: given.dir.clone() };
    let config = Config::load(args.config.as_deref(), std::env::vars_os(), overrides)?;
    log_as(&config.log)?;
    let arena = arena(config.accept)?;
    let sealing = config.sealing_credential.clone().map(SealingSource::SystemdCredential);
    let options = Options { sealing: sealing.unwrap_or_default(), ..options(arena, &config.facts, given)? };
    let engine = Engine::open(&config.data_dir, options)?;
    serve(&config, engine, |_| Ok(()))
}

fn try_out(args: &ServeArgs, given: &Given) -> Result<(), Failure> {
    log_as(&Log { format: LogFormat::Text, filter: "warn".to_owned() })?;
    let arena = arena(Protection::Mlock)?;
    let site = DevSite::prepare(given.dir.as_deref(), args.listen, &arena)?;
    let engine = site.open(options(arena, &site.config.facts, given)?)?;
    serve(&site.config, engine, |server| tell(&site, &site.url(server.address()), given.json).map_err(Failure::Stdout))
}

fn arena(accept: Protection) -> Result<Arena, Failure> {
    Ok(Arena::new(&ArenaOptions { accept, ..ArenaOptions::default() })?)
}

fn options(arena: Arena, facts: &FactsPath, given: &Given) -> Result<Options, Failure> {
    Ok(Options {
        memory: KeyMemory::Shared(arena),
        platform: Arc::new(FactsFile::new(facts)?),
        danger_accept_rollback: given.danger_accept_rollback,
        ..Options::default()
    })
}

/// Until a signal ends it. What is still running of the engine stops at its next durable point.
fn serve(config: &Config, engine: Engine, ready: impl FnOnce(&Server) -> Result<(), Failure>) -> Result<(), Failure> {
    let (engine, registry) = (Arc::new(engine), Registry::default());
    registry.install();
    let store = StoreKind::of(&config.data_dir.join(STORE_DIR)).map_err(OpenEngineError::Store)?;
    let commands = Background::default();
    let api = routers(&engine, store, &commands);
    let server = Server::start_with(config, engine, registry, api, commands)?;
    let mut told = Ok(());
    server.run_then(|server| told = ready(server))?;
    told
}

/// What a program reads that has started a service to try things on.
#[derive(Serialize)]
struct Ready<'a> {
    url: &'a str,
    user: &'a str,
    password: &'a str,
    ca: &'a Path,
    dir: &'a Path,
    pid: u32,
}

/// The password is shown, this once: it is of this start alone, and nobody else has it.
fn tell(site: &DevSite, url: &str, json: bool) -> io::Result<()> {
    let (user, password) = (site.user.as_str(), text(&site.password)?);
    let (ca, dir) = (site.authority.as_path(), site.config.data_dir.as_path());
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &Ready { url, user, password, ca, dir, pid: std::process::id() })?;
        writeln!(out)?;
        return out.flush();
    }
    let curl = format!("curl --cacert {} --user {user}:{password}", ca.display());
    writeln!(
        out,
        "claviger serves at {url}, for trying things out; Ctrl-C ends it\nthe hierarchy is in {}\n",
        dir.display()
    )?;
    writeln!(out, "the password of {user}, for this start:\n\n  {password}\n")?;
    writeln!(out, "  {curl} {url}/api/cluster")?;
    writeln!(out, "  {curl} {url}/api/svm/svms --json '{{\"name\": \"vs0\"}}'")?;
    writeln!(out, "  {curl} {url}/api/security/key-managers")?;
    out.flush()
}

fn text(secret: &SecretBytes) -> io::Result<&str> {
    std::str::from_utf8(secret.expose()).map_err(io::Error::other)
}

/// The variable wins over the configuration, as it does for every command.
fn log_as(log: &Log) -> Result<(), Failure> {
    let filter = std::env::var(LOG_VARIABLE).unwrap_or_else(|_| log.filter.clone());
    let filter = EnvFilter::builder().parse(filter).map_err(|_| Failure::Log)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        // A message that was put together may hold anything; one that is written in the program holds nothing else.
        let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown)");
        tracing::error!(location, message, "claviger made a mistake; report it");
    }));
    Ok(())
}

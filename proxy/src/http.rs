//! HTTP: the method CONNECT, and requests for a whole `http://` URL, or for
//! what `Host` says, of a client that knows of no proxy.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use launcher_policy::namespaces::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::accept::Place;
use crate::counted::Counted;
use crate::gate::{Gate, Kind, Refused};
use crate::log::Way;
use crate::relay::relay;

/// How long a client may take for the head of a request.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// The longest head of a request or an answer.
const MAX_HEAD: usize = 64 * 1024;

/// Headers that are for the next hop alone, RFC 9110, and those of proxies.
const HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
];

/// The same, without a name of their own.
const HOP_BY_NAME: [&str; 2] = ["proxy-connection", "keep-alive"];

type Body = Either<Incoming, Full<Bytes>>;

/// Serves one client.
pub(crate) async fn serve(stream: TcpStream, protocol: Protocol, gate: Arc<Gate>, place: Place) {
    let service = service_fn(|request| {
        let (gate, place) = (Arc::clone(&gate), Arc::clone(&place));
        async move { Ok::<_, Infallible>(answer(request, protocol, &gate, place).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // An error is the client's, which knows of it.
    let _ = connection.await;
}

async fn answer(
    mut request: Request<Incoming>,
    protocol: Protocol,
    gate: &Arc<Gate>,
    place: Place,
) -> Response<Body> {
    if protocol == Protocol::Web
        && let Some(uri) = whole(&request)
    {
        *request.uri_mut() = uri;
    }
    let answered = match *request.method() {
        Method::CONNECT => connect(request, gate, place).await,
        _ => forward(request, gate).await,
    };
    answered.unwrap_or_else(|(status, reason)| said(status, &reason))
}

/// The whole URL of a request that has a path and `Host`.
fn whole(request: &Request<Incoming>) -> Option<Uri> {
    let path = request.uri().path_and_query().filter(|_| request.uri().authority().is_none())?;
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    format!("http://{host}{path}").parse().ok()
}

type Answered = Result<Response<Body>, (StatusCode, String)>;

fn wrong(reason: &str) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, reason.to_owned())
}

fn not_opened(refused: Refused) -> (StatusCode, String) {
    let status = match refused.kind {
        Kind::Policy => StatusCode::FORBIDDEN,
        Kind::Name | Kind::Host => StatusCode::BAD_GATEWAY,
    };
    (status, refused.to_string())
}

fn said(status: StatusCode, reason: &str) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::from(format!("proxy: {reason}\n"))));
    *response.status_mut() = status;
    response
}

async fn connect(request: Request<Incoming>, gate: &Arc<Gate>, place: Place) -> Answered {
    let authority = request.uri().authority();
    let target = authority.and_then(|target| Some((target.host(), target.port_u16()?)));
    let (host, port) = target.ok_or_else(|| wrong("CONNECT takes a host and a port"))?;
    let outside = gate.open(Way::Connect, host, port).await.map_err(not_opened)?;
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            tunnel(upgraded, outside).await;
        }
        drop(place);
    });
    Ok(Response::new(Either::Right(Full::default())))
}

/// Relays what comes behind a CONNECT.
async fn tunnel(upgraded: Upgraded, mut outside: Counted) {
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
    // What the client has sent without waiting for the answer.
    if outside.write_all(&parts.read_buf).await.is_ok() {
        relay(&mut parts.io.into_inner(), &mut outside).await;
    }
}

async fn forward(mut request: Request<Incoming>, gate: &Arc<Gate>) -> Answered {
    let uri = std::mem::take(request.uri_mut());
    let target = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let target =
        target.ok_or_else(|| wrong("this is a proxy: it takes CONNECT and http:// URLs"))?;
    let port = target.port_u16().unwrap_or(80);
    let outside = gate.open(Way::Http, target.host(), port).await.map_err(not_opened)?;
    let failed = |error: hyper::Error| (StatusCode::BAD_GATEWAY, error.to_string());
    // Whatever the client says there, it is this host that was judged.
    let host = match target.port_u16() {
        Some(port) => format!("{}:{port}", target.host()),
        None => target.host().to_owned(),
    };
    let host = HeaderValue::try_from(host).map_err(|_| wrong("it is no host name"))?;
    // As text it has the slash that `http://host?query` is without.
    let path = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| wrong("the URL has no path"))?;
    remove_hops(request.headers_mut());
    request.headers_mut().insert(header::HOST, host);
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(outside))
        .await
        .map_err(failed)?;
    // It ends with the last byte of the answer, and is told of then.
    tokio::spawn(connection);
    let mut response = sender.send_request(request).await.map_err(failed)?;
    remove_hops(response.headers_mut());
    Ok(response.map(Either::Left))
}

/// Removes what is for one hop alone, and what `Connection` says is.
fn remove_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP) {
        headers.remove(name);
    }
    for name in HOP_BY_NAME {
        headers.remove(name);
    }
}

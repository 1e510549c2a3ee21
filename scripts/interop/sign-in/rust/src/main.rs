//! The `openidconnect` crate, which applications in Rust sign people in with.

use std::{collections::HashMap, env, error::Error};

use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreTokenResponse, CoreUserInfoClaims};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, IssuerUrl, LogoutRequest, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl, ProviderMetadataWithLogout, RedirectUrl, RefreshToken,
    Scope, TokenResponse, reqwest,
};
use serde_json::json;
use tiny_http::{Header, Response, Server};
use url::Url;

type Answer = Result<(u16, String), Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let home = format!("http://localhost:{}/", env::var("PORT")?);
    let http = reqwest::blocking::ClientBuilder::new()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let metadata = ProviderMetadataWithLogout::discover(&IssuerUrl::new(env::var("ISSUER")?)?, &http)?;
    let end_session = metadata
        .additional_metadata()
        .end_session_endpoint
        .clone()
        .ok_or("no end_session_endpoint")?;
    let client = CoreClient::from_provider_metadata(
        metadata,
        ClientId::new(env::var("CLIENT_ID")?),
        Some(ClientSecret::new(env::var("CLIENT_SECRET")?)),
    )
    .set_redirect_uri(RedirectUrl::new(format!("{home}callback"))?);

    let mut pending: Option<(CsrfToken, Nonce, PkceCodeVerifier)> = None;
    let mut known: Option<(CoreTokenResponse, Nonce)> = None;
    let claims = |tokens: &CoreTokenResponse, nonce: &Nonce| -> Answer {
        let id_token = tokens.id_token().ok_or("no ID token")?;
        // A refreshed ID token should have no nonce (OpenID Connect Core §12.2).
        let right = |given: Option<&Nonce>| {
            given
                .is_none_or(|given| given.secret() == nonce.secret())
                .then_some(())
                .ok_or(String::from("nonce"))
        };
        let claims = id_token.claims(&client.id_token_verifier(), right)?;
        Ok((
            200,
            json!({ "access_token": tokens.access_token().secret(), "claims": claims }).to_string(),
        ))
    };
    let mut answer = |path: &str, query: HashMap<String, String>| -> Answer {
        match path {
            "/login" => {
                let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
                let (url, state, nonce) = client
                    .authorize_url(
                        CoreAuthenticationFlow::AuthorizationCode,
                        CsrfToken::new_random,
                        Nonce::new_random,
                    )
                    .add_scopes(["profile", "email", "roles", "offline_access"].map(|scope| Scope::new(scope.into())))
                    .set_pkce_challenge(challenge)
                    .url();
                pending = Some((state, nonce, verifier));
                Ok((302, url.into()))
            }
            "/callback" => {
                let (state, nonce, verifier) = pending.take().ok_or("no sign-in is under way")?;
                if query.get("state") != Some(state.secret()) {
                    return Err("state".into());
                }
                let code = AuthorizationCode::new(query.get("code").ok_or("no code")?.clone());
                let tokens = client.exchange_code(code)?.set_pkce_verifier(verifier).request(&http)?;
                let answer = claims(&tokens, &nonce);
                known = Some((tokens, nonce));
                answer
            }
            "/userinfo" => {
                let (tokens, _) = known.as_ref().ok_or("nobody is signed in")?;
                let info: CoreUserInfoClaims = client.user_info(tokens.access_token().clone(), None)?.request(&http)?;
                Ok((200, serde_json::to_string(&info)?))
            }
            "/refresh" => {
                let (tokens, nonce) = known.take().ok_or("nobody is signed in")?;
                let token: RefreshToken = tokens.refresh_token().ok_or("no refresh token")?.clone();
                let tokens = client.exchange_refresh_token(&token)?.request(&http)?;
                let answer = claims(&tokens, &nonce);
                known = Some((tokens, nonce));
                answer
            }
            "/logout" => {
                let (tokens, _) = known.as_ref().ok_or("nobody is signed in")?;
                let request = LogoutRequest::from(end_session.clone())
                    .set_id_token_hint(tokens.id_token().ok_or("no ID token")?)
                    .set_post_logout_redirect_uri(PostLogoutRedirectUrl::new(home.clone())?);
                Ok((302, request.http_get_url().into()))
            }
            _ => Ok((200, "at home".into())),
        }
    };

    let server = Server::http(format!("127.0.0.1:{}", env::var("PORT")?)).map_err(|error| error.to_string())?;
    for request in server.incoming_requests() {
        let url = Url::parse(&home)?.join(request.url())?;
        let (status, text) = answer(url.path(), url.query_pairs().into_owned().collect())
            .unwrap_or_else(|error| (500, error.to_string()));
        let mut response = Response::from_string(if status == 302 { "" } else { &text }).with_status_code(status);
        if status == 302 {
            response.add_header(Header::from_bytes("Location", text).map_err(|()| "Location")?);
        }
        request.respond(response)?;
    }
    Ok(())
}

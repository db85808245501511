//! Which URL and method is which action: a table for each service.

use http::Method;

use crate::base::error::{Code, Error};

/// A path and what may be done there.
pub(super) struct Route<A: 'static> {
    /// Segments behind the prefix; `{id}` stands for any one.
    pub(super) path: &'static str,
    /// The methods of `actions`, for the header of that name.
    pub(super) allow: &'static str,
    pub(super) actions: &'static [(Method, A)],
}

/// What the admin API can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdminAction {
    ListKeys,
    CreateKey,
    GetKey,
    RevokeKey,
    RotateKey,
    ListLimits,
    PutLimits,
    LimitStates,
    ListRequests,
    Usage,
    ListAlerts,
    ListWebhooks,
    CreateWebhook,
    DeleteWebhook,
    ListDeliveries,
    Redeliver,
    ListAudit,
}

impl AdminAction {
    /// Whether its handler reads the query string.
    pub(super) fn takes_query(self) -> bool {
        !matches!(
            self,
            Self::CreateKey
                | Self::GetKey
                | Self::RevokeKey
                | Self::RotateKey
                | Self::PutLimits
                | Self::CreateWebhook
                | Self::DeleteWebhook
                | Self::Redeliver
        )
    }
}

/// What a calling key can ask about its own project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsageAction {
    ListRequests,
    Usage,
}

/// The admin API's prefix, which a router that nests may have stripped already.
pub(super) const ADMIN: &str = "/admin/v1";

/// The client API's.
pub(super) const CLIENT: &str = "/v1";

pub(super) const ADMIN_ROUTES: &[Route<AdminAction>] = {
    use AdminAction as A;
    const GET: &str = "GET";
    &[
        Route {
            path: "/keys",
            allow: "GET, POST",
            actions: &[(Method::GET, A::ListKeys), (Method::POST, A::CreateKey)],
        },
        Route {
            path: "/keys/{id}",
            allow: "GET, DELETE",
            actions: &[(Method::GET, A::GetKey), (Method::DELETE, A::RevokeKey)],
        },
        Route { path: "/keys/{id}/rotate", allow: "POST", actions: &[(Method::POST, A::RotateKey)] },
        Route {
            path: "/limits",
            allow: "GET, PUT",
            actions: &[(Method::GET, A::ListLimits), (Method::PUT, A::PutLimits)],
        },
        Route { path: "/limits/state", allow: GET, actions: &[(Method::GET, A::LimitStates)] },
        Route { path: "/requests", allow: GET, actions: &[(Method::GET, A::ListRequests)] },
        Route { path: "/usage", allow: GET, actions: &[(Method::GET, A::Usage)] },
        Route { path: "/alerts", allow: GET, actions: &[(Method::GET, A::ListAlerts)] },
        Route {
            path: "/webhooks",
            allow: "GET, POST",
            actions: &[(Method::GET, A::ListWebhooks), (Method::POST, A::CreateWebhook)],
        },
        // Before the id, or it would be taken for one.
        Route { path: "/webhooks/deliveries", allow: GET, actions: &[(Method::GET, A::ListDeliveries)] },
        Route { path: "/webhooks/deliveries/{id}/redeliver", allow: "POST", actions: &[(Method::POST, A::Redeliver)] },
        Route { path: "/webhooks/{id}", allow: "DELETE", actions: &[(Method::DELETE, A::DeleteWebhook)] },
        Route { path: "/audit", allow: GET, actions: &[(Method::GET, A::ListAudit)] },
    ]
};

pub(super) const USAGE_ROUTES: &[Route<UsageAction>] = &[
    Route { path: "/requests", allow: "GET", actions: &[(Method::GET, UsageAction::ListRequests)] },
    Route { path: "/usage", allow: "GET", actions: &[(Method::GET, UsageAction::Usage)] },
];

/// The route of `path`, and what stands in the place of `{id}`.
pub(super) fn route<'p, A>(
    table: &'static [Route<A>],
    prefix: &str,
    path: &'p str,
) -> Option<(&'static Route<A>, Option<&'p str>)> {
    let bare = path.strip_prefix(prefix).unwrap_or(path);
    table.iter().find_map(|route| Some((route, fits(route.path, bare)?)))
}

/// Whether `path` has the form of `pattern`; with the id in it, where the pattern has one.
fn fits<'p>(pattern: &str, path: &'p str) -> Option<Option<&'p str>> {
    let mut id = None;
    let mut given = path.split('/');
    for wanted in pattern.split('/') {
        match given.next()? {
            segment if wanted == "{id}" && !segment.is_empty() => id = Some(segment),
            segment if segment == wanted => {}
            _ => return None,
        }
    }
    given.next().is_none().then_some(id)
}

/// The action of this method and path.
pub(super) fn action<'p, A: Copy>(
    table: &'static [Route<A>],
    prefix: &str,
    method: &Method,
    path: &'p str,
) -> Result<(A, Option<&'p str>), Error> {
    let (route, id) = route(table, prefix, path).ok_or_else(not_found)?;
    match route.actions.iter().find(|(taken, _)| taken == method) {
        Some((_, action)) => Ok((*action, id)),
        None => {
            let message = format!("This URL takes {}.", route.allow);
            Err(Error::new(Code::MethodNotAllowed, message).allow(route.allow))
        }
    }
}

/// The URL names nothing.
pub(super) fn not_found() -> Error {
    Error::new(Code::NotFound, "Nothing is at this URL: check the path and the id in it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_route_allows_is_what_it_does() {
        for route in ADMIN_ROUTES {
            let methods: Vec<_> = route.actions.iter().map(|(method, _)| method.as_str()).collect();
            assert_eq!(route.allow, methods.join(", "), "{}", route.path);
        }
    }

    #[test]
    fn paths_are_found_with_and_without_the_prefix_and_in_no_other_form() {
        let find = |path| route(ADMIN_ROUTES, ADMIN, path).map(|(route, id)| (route.path, id));
        assert_eq!(find("/admin/v1/keys"), Some(("/keys", None)));
        assert_eq!(find("/limits/state"), Some(("/limits/state", None)));
        assert_eq!(find("/admin/v1/keys/abc/rotate"), Some(("/keys/{id}/rotate", Some("abc"))));
        for path in ["", "/", "/admin/v1", "/keys/", "/keys//rotate", "/keys/a/b", "/admin/v1/admin/v1/keys", "//keys"]
        {
            assert_eq!(find(path), None, "{path}");
        }
    }
}

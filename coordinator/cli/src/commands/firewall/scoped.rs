//! The calls on a firewall, whether it belongs to an organization or to a workspace: the path's length tells.

use loopback_api::firewall::{
    CreateOrganizationFirewall, CreateWorkspaceFirewall, DeleteOrganizationFirewall, DeleteWorkspaceFirewall, Firewall, GetOrganizationFirewall,
    GetWorkspaceFirewall, ListOrganizationFirewalls, ListWorkspaceFirewalls, NewFirewall, Rules, SetOrganizationFirewallRules, SetWorkspaceFirewallRules,
    UpdateOrganizationFirewall, UpdateWorkspaceFirewall,
};
use loopback_api::{Nothing, Page, PageQuery};

use crate::client::{CallError, Client};
use crate::listing::ListArgs;
use crate::scope::ScopeArg;

pub(super) async fn list(client: &Client, scope: &ScopeArg, list: ListArgs) -> Result<Page<Firewall>, CallError> {
    match scope.segments()[..] {
        [organization] => client.list::<ListOrganizationFirewalls, _>(&[organization], PageQuery::default(), list).await,
        ref workspace => client.list::<ListWorkspaceFirewalls, _>(workspace, PageQuery::default(), list).await,
    }
}

pub(super) async fn get(client: &Client, scope: &ScopeArg, slug: &str) -> Result<Firewall, CallError> {
    match scope.segments()[..] {
        [organization] => client.call::<GetOrganizationFirewall>(&[organization], Some(slug), &Nothing {}, &Nothing {}).await,
        ref workspace => client.call::<GetWorkspaceFirewall>(workspace, Some(slug), &Nothing {}, &Nothing {}).await,
    }
}

pub(super) async fn create(client: &Client, scope: &ScopeArg, new: &NewFirewall) -> Result<Firewall, CallError> {
    match scope.segments()[..] {
        [organization] => client.call::<CreateOrganizationFirewall>(&[organization], None, &Nothing {}, new).await,
        ref workspace => client.call::<CreateWorkspaceFirewall>(workspace, None, &Nothing {}, new).await,
    }
}

pub(super) async fn update(client: &Client, scope: &ScopeArg, slug: &str, new: &NewFirewall) -> Result<Firewall, CallError> {
    match scope.segments()[..] {
        [organization] => client.call::<UpdateOrganizationFirewall>(&[organization], Some(slug), &Nothing {}, new).await,
        ref workspace => client.call::<UpdateWorkspaceFirewall>(workspace, Some(slug), &Nothing {}, new).await,
    }
}

pub(super) async fn set_rules(client: &Client, scope: &ScopeArg, slug: &str, rules: &Rules) -> Result<Firewall, CallError> {
    match scope.segments()[..] {
        [organization] => client.call::<SetOrganizationFirewallRules>(&[organization], Some(slug), &Nothing {}, rules).await,
        ref workspace => client.call::<SetWorkspaceFirewallRules>(workspace, Some(slug), &Nothing {}, rules).await,
    }
}

pub(super) async fn delete(client: &Client, scope: &ScopeArg, slug: &str) -> Result<Nothing, CallError> {
    match scope.segments()[..] {
        [organization] => client.call::<DeleteOrganizationFirewall>(&[organization], Some(slug), &Nothing {}, &Nothing {}).await,
        ref workspace => client.call::<DeleteWorkspaceFirewall>(workspace, Some(slug), &Nothing {}, &Nothing {}).await,
    }
}

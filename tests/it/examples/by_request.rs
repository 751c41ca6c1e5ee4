//! Targets that are reached by HTTP: what they are asked, and the answers that look like success.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::example::Example;
use super::stand_in::{Asked, Exchange, asks, probes};
use crate::http::{Answer, Reply};

/// `dev-43` as the examples name it.
const IMAGE: &str = "git.example.com/acme/shop:dev-43";

mod portainer_service {
    use super::*;

    fn webhook() -> Asked {
        asks("POST /api/webhooks/planted-portainer?tag=dev-43").empty()
    }

    #[test]
    fn receives_the_tag() {
        for status in [202, 204] {
            Example::named("portainer-service").expect([webhook().answers_status(status)]).ships();
        }
    }

    #[test]
    fn a_pull_that_could_not_start_has_failed() {
        let answer = json!({"message": "Error creating webhook", "details": "no such webhook"});
        let refusal = webhook().answers_json(404, answer);
        Example::named("portainer-service").expect([refusal]).fails("http", "404 Not Found");
    }

    #[test]
    fn a_page_without_the_webhook_is_a_failure() {
        let page = Answer::new(200, "text/html", "<title>Portainer</title>");
        Example::named("portainer-service").expect([webhook().answers(page)]).fails("http", "200 OK");
    }
}

mod portainer_stack {
    use super::*;

    fn webhook(target: &str, tag: &str) -> Asked {
        let name = target.replace('/', "-");
        asks(&format!("POST /api/stacks/webhooks/planted-{name}?TAG={tag}")).empty()
    }

    #[test]
    fn six_stages_share_one_deploy() {
        let example = Example::named("portainer-stack");
        example.baseline();
        for project in ["shop", "blog", "api"] {
            for (stage, tag) in [("dev", "dev-43"), ("prod", "v1.1.0")] {
                let target = format!("{project}/{stage}");
                example.stand_in.expect([webhook(&target, tag).answers_status(204)]);
                example.gitea.push(&format!("acme/{project}"), tag, "2026-11-20T11:00:00Z");
                let run = example.shop.run(&["poll"]);
                run.code(0).line(&target, &["deployed", tag]);
                example.stand_in.is_over();
            }
        }
    }

    #[test]
    fn an_html_page_is_not_accepted_as_an_answer_of_the_api() {
        let page =
            webhook("shop/dev", "dev-43").answers(Answer::new(200, "text/html", "<title>Portainer</title>"));
        Example::named("portainer-stack").expect([page]).fails("http", "200 OK");
    }

    #[test]
    fn a_webhook_that_is_gone_has_failed() {
        let refusal = webhook("shop/dev", "dev-43").answers_status(404);
        Example::named("portainer-stack").expect([refusal]).fails("http", "404 Not Found");
    }
}

mod komodo {
    use super::*;

    fn asks_with_key(line: &str) -> Asked {
        asks(line).header("x-api-key", "planted-komodo-key").header("x-api-secret", "planted-komodo-secret")
    }

    fn update(status: &str, success: bool) -> Value {
        json!({"_id": {"$oid": "67a1"}, "operation": "DeployStack", "status": status, "success": success})
    }

    /// Up to the update with this end.
    fn script(success: bool) -> [Exchange; 4] {
        let variable = json!({"name": "SHOP_DEV_TAG", "value": "dev-43"});
        let get = || asks_with_key("POST /read/GetUpdate").json(json!({"id": "67a1"}));
        [
            asks_with_key("POST /write/UpdateVariableValue")
                .json(variable.clone())
                .answers_json(200, variable),
            asks_with_key("POST /execute/DeployStack")
                .json(json!({"stack": "shop-dev"}))
                .answers_json(200, update("InProgress", false)),
            get().answers_json(200, update("InProgress", false)),
            get().answers_json(200, update("Complete", success)),
        ]
    }

    #[test]
    fn is_asked_until_the_update_is_complete() {
        Example::named("komodo").expect(script(true)).ships();
    }

    #[test]
    fn an_update_that_is_complete_without_success_has_failed() {
        Example::named("komodo").expect(script(false)).fails("http", "/success is false, not true");
    }

    #[test]
    fn a_key_that_may_not_is_not_tried_again() {
        let [variable, ..] = script(true);
        let refusal = json!({"error": "user does not have permission", "trace": []});
        let refused = Exchange { reply: Answer::json(403, refusal.to_string()).into(), ..variable };
        Example::named("komodo").expect([refused]).ends("dead", "http", "403 Forbidden");
    }
}

mod coolify {
    use super::*;

    fn asks_with_token(line: &str) -> Asked {
        asks(line).header("authorization", "Bearer planted-coolify")
    }

    fn patch() -> Exchange {
        asks_with_token("PATCH /api/v1/applications/ok4c0g8")
            .json(json!({"docker_registry_image_tag": "dev-43"}))
            .answers_json(200, json!({"uuid": "ok4c0g8"}))
    }

    fn deploy() -> Asked {
        asks_with_token("POST /api/v1/deploy?uuid=ok4c0g8&force=true").json(json!({}))
    }

    fn deployment() -> Asked {
        asks_with_token("GET /api/v1/deployments/d8wk")
    }

    /// Up to the deployment with this end.
    fn script(end: &str) -> [Exchange; 6] {
        let queued = json!({"message": "Application deployment queued.", "resource_uuid": "ok4c0g8", "deployment_uuid": "d8wk"});
        [
            patch(),
            deploy().answers_json(200, json!({"deployments": [queued]})),
            deployment().answers_json(200, json!({"status": "queued"})),
            deployment().answers_json(429, json!({"message": "Too Many Attempts."})),
            deployment().answers_json(200, json!({"status": "in_progress"})),
            deployment().answers_json(200, json!({"status": end})),
        ]
    }

    #[test]
    fn is_asked_until_the_deployment_is_finished() {
        Example::named("coolify").expect(script("finished")).ships();
    }

    #[test]
    fn a_deployment_that_was_queued_can_fail() {
        for end in ["failed", "cancelled-by-user"] {
            Example::named("coolify").expect(script(end)).fails("http", &format!("/status is \"{end}\""));
        }
    }

    #[test]
    fn a_200_without_a_deployment_has_failed() {
        let refused = json!({"message": "Not allowed to deploy this application.", "resource_uuid": null});
        let answer = json!({"deployments": [refused]});
        let script = [patch(), deploy().answers_json(200, answer)];
        Example::named("coolify")
            .expect(script)
            .fails("http", "200 OK, but /deployments/0/deployment_uuid is missing");
    }

    #[test]
    fn a_server_with_too_many_requests_is_left_alone_as_long_as_it_says() {
        let busy = Answer::json(429, r#"{"message": "Too Many Attempts."}"#).with("Retry-After", "60");
        let example = Example::named("coolify").expect([patch(), deploy().answers(busy)]);
        let example = example.fails("http", "429 Too Many Requests");
        example.shop.run(&["poll"]).code(0).silent();
        example.stand_in.is_over();
    }
}

mod dokploy {
    use super::*;

    fn asks_with_key(line: &str) -> Asked {
        asks(line).header("x-api-key", "planted-dokploy")
    }

    fn save() -> Asked {
        asks_with_key("POST /api/application.saveDockerProvider").json(json!({
            "applicationId": "Vb1hQf3oJ2", "dockerImage": IMAGE, "registryUrl": "git.example.com",
            "username": "dokploy", "password": "planted-pull",
        }))
    }

    /// Up to the application with this status.
    fn script(end: &str) -> [Exchange; 5] {
        let one = || asks_with_key("GET /api/application.one?applicationId=Vb1hQf3oJ2");
        [
            save().answers_json(200, json!(true)),
            asks_with_key("POST /api/application.deploy")
                .json(json!({"applicationId": "Vb1hQf3oJ2"}))
                .answers_json(200, json!({"success": true})),
            one().answers_json(200, json!({"applicationStatus": "idle"})),
            one().answers_json(200, json!({"applicationStatus": "running"})),
            // The application knows its passwords.
            one().answers_json(200, json!({"applicationStatus": end, "password": "planted-pull"})),
        ]
    }

    #[test]
    fn is_asked_until_the_application_is_done() {
        Example::named("dokploy").expect(script("done")).ships();
    }

    #[test]
    fn a_deployment_that_was_queued_can_fail() {
        Example::named("dokploy").expect(script("error")).fails("http", "/applicationStatus is \"error\"");
    }

    #[test]
    fn a_301_is_a_refusal_and_is_not_followed() {
        let refusal = Answer::json(301, r#"{"message": "Branch Not Match"}"#);
        Example::named("dokploy").expect([save().answers(refusal)]).fails("http", "301 Moved Permanently");
    }
}

mod caprover {
    use super::*;

    fn deploys() -> Asked {
        let definition = format!(r#"{{"schemaVersion":2,"imageName":"{IMAGE}"}}"#);
        asks("POST /api/v2/user/apps/appData/shop-dev")
            .header("x-namespace", "captain")
            .header("x-captain-app-token", "planted-caprover")
            .json(json!({"captainDefinitionContent": definition}))
    }

    #[test]
    fn is_given_a_definition_of_the_image() {
        let done = json!({"status": 100, "description": "Deploy is done", "data": {}});
        Example::named("caprover").expect([deploys().answers_json(200, done)]).ships();
    }

    #[test]
    fn a_200_with_another_status_in_its_body_has_failed() {
        for (status, description) in
            [(101, "Deploy is started"), (1101, "Captain user is not initialized"), (1109, "Build failed")]
        {
            let answer = json!({"status": status, "description": description, "data": {}});
            Example::named("caprover")
                .expect([deploys().answers_json(200, answer)])
                .fails("http", &format!("200 OK, but /status is {status}, not 100"));
        }
    }
}

mod gitea_actions {
    use super::*;

    fn dispatch() -> Asked {
        asks("POST /api/v1/repos/acme/deploy/actions/workflows/deploy.yml/dispatches")
            .header("authorization", "token planted-gitea-actions")
            .json(json!({"ref": "main", "inputs": {"stage": "dev", "tag": "dev-43"}}))
    }

    #[test]
    fn is_given_the_declared_inputs() {
        Example::named("gitea-actions").expect([dispatch().answers_status(204)]).ships();
    }

    #[test]
    fn an_html_page_is_not_accepted_as_an_answer_of_the_api() {
        let page = Answer::new(200, "text/html", "<title>Sign in</title>");
        Example::named("gitea-actions").expect([dispatch().answers(page)]).fails("http", "200 OK");
    }

    #[test]
    fn a_workflow_that_is_not_there_has_failed() {
        let answer = json!({"message": "workflow \"deploy.yml\" does not exist", "url": "/api/swagger"});
        Example::named("gitea-actions").expect([dispatch().answers_json(404, answer)]).fails("http", "404");
    }

    #[test]
    fn a_token_that_may_not_is_not_tried_again() {
        let answer = json!({"message": "token does not have at least one of required scope(s)"});
        Example::named("gitea-actions").expect([dispatch().answers_json(403, answer)]).ends(
            "dead",
            "http",
            "403 Forbidden",
        );
    }
}

mod github_dispatch {
    use super::*;

    fn dispatch() -> Asked {
        asks("POST /repos/acme/deploy/dispatches")
            .header("accept", "application/vnd.github+json")
            .header("authorization", "Bearer planted-github")
            .json(json!({"event_type": "deploy", "client_payload": {
                "stage": "dev", "image": IMAGE, "tag": "dev-43", "deployment": "[id]",
            }}))
    }

    #[test]
    fn is_given_an_event() {
        let example = Example::named("github-dispatch").expect([dispatch().answers_status(204)]).ships();
        // GitHub refuses a request without one.
        assert!(example.stand_in.requests()[0].header("user-agent").is_some());
    }

    #[test]
    fn an_html_page_is_not_accepted_as_an_answer_of_the_api() {
        let page = Answer::new(200, "text/html", "<title>Sign in</title>");
        Example::named("github-dispatch").expect([dispatch().answers(page)]).fails("http", "200 OK");
    }

    #[test]
    fn a_repository_that_the_token_may_not_see_has_failed() {
        let answer = json!({"message": "Not Found", "status": "404"});
        Example::named("github-dispatch").expect([dispatch().answers_json(404, answer)]).fails("http", "404");
    }

    #[test]
    fn an_event_that_is_not_valid_is_not_tried_again() {
        let answer = json!({"message": "Invalid request.", "status": "422"});
        Example::named("github-dispatch").expect([dispatch().answers_json(422, answer)]).ends(
            "dead",
            "http",
            "422 Unprocessable Entity",
        );
    }
}

mod gitlab_trigger {
    use super::*;

    fn trigger() -> Asked {
        asks("POST /api/v4/projects/42/trigger/pipeline")
            .form("token=planted-trigger&ref=main&variables%5BSTAGE%5D=dev&variables%5BTAG%5D=dev-43")
    }

    /// Up to the pipeline with this status.
    fn script(end: &str) -> [Exchange; 4] {
        let pipeline =
            || asks("GET /api/v4/projects/42/pipelines/1507").header("private-token", "planted-read");
        [
            trigger().answers_json(201, json!({"id": 1507, "status": "created"})),
            pipeline().answers_json(200, json!({"id": 1507, "status": "pending"})),
            pipeline().answers_json(200, json!({"id": 1507, "status": "running"})),
            pipeline().answers_json(200, json!({"id": 1507, "status": end})),
        ]
    }

    #[test]
    fn is_asked_until_the_pipeline_is_over() {
        Example::named("gitlab-trigger").expect(script("success")).ships();
    }

    #[test]
    fn a_pipeline_that_was_created_can_fail() {
        for end in ["failed", "canceled", "skipped"] {
            let example = Example::named("gitlab-trigger").expect(script(end));
            example.fails("http", &format!("/status is \"{end}\""));
        }
    }

    #[test]
    fn an_html_page_is_not_accepted_as_an_answer_of_the_api() {
        let page = Answer::new(200, "text/html", "<title>Sign in</title>");
        Example::named("gitlab-trigger").expect([trigger().answers(page)]).fails("http", "200 OK");
    }

    #[test]
    fn a_project_that_the_token_is_not_of_has_failed() {
        let refusal = trigger().answers_json(404, json!({"message": "404 Not Found"}));
        Example::named("gitlab-trigger").expect([refusal]).fails("http", "404 Not Found");
    }
}

mod nomad {
    use super::*;

    fn asks_with_token(line: &str) -> Asked {
        asks(line).header("x-nomad-token", "planted-nomad")
    }

    fn dispatch() -> Asked {
        asks_with_token("PUT /v1/job/deploy-shop/dispatch?idempotency_token=[id]")
            .json(json!({"Meta": {"image": IMAGE}}))
    }

    fn dispatched() -> Exchange {
        let job = json!({"DispatchedJobID": "deploy-shop/dispatch-1763-0f6a", "EvalID": "e1"});
        dispatch().answers_json(200, job)
    }

    fn summary(complete: u32, failed: u32) -> Exchange {
        let group = json!({"Complete": complete, "Failed": failed, "Running": 1 - complete - failed});
        asks_with_token("GET /v1/job/deploy-shop%2Fdispatch-1763-0f6a/summary")
            .answers_json(200, json!({"Summary": {"deploy": group}}))
    }

    #[test]
    fn is_asked_until_the_dispatched_job_has_completed() {
        Example::named("nomad").expect([dispatched(), summary(0, 0), summary(1, 0)]).ships();
    }

    #[test]
    fn a_job_that_fails_never_completes() {
        Example::named("nomad")
            .with("within = \"10m\"", "within = \"1ms\"")
            .expect([dispatched(), summary(0, 1)])
            .fails("timeout", "/Summary/deploy/Complete is 0");
    }

    #[test]
    fn an_answer_without_a_job_has_failed() {
        let answer = dispatch().answers_json(200, json!({"EvalID": "e1"}));
        Example::named("nomad").expect([answer]).fails("http", "/DispatchedJobID");
    }

    #[test]
    fn meta_that_is_not_declared_has_failed() {
        let words = "Dispatch request included unpermitted metadata keys: [image]";
        let refusal = dispatch().answers(Answer::new(500, "text/plain", words));
        Example::named("nomad").expect([refusal]).fails("http", words);
    }
}

mod adnanh_webhook {
    use super::*;

    fn hook() -> Asked {
        asks("POST /hooks/deploy-shop")
            .header("x-hub-signature-256", "[signature]")
            .json(json!({"stage": "dev", "tag": "dev-43"}))
    }

    #[test]
    fn finds_the_signature_of_the_body_as_it_was_sent() {
        let output = Answer::new(200, "text/plain", "pulled dev-43\ndeployed\n");
        let example = Example::named("adnanh-webhook").expect([hook().answers(output)]).ships();
        let request = &example.stand_in.requests()[0];
        let mut mac = Hmac::<Sha256>::new_from_slice(b"planted-webhook").unwrap();
        mac.update(&request.body);
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        assert_eq!(request.header_values("x-hub-signature-256"), [signature]);
    }

    #[test]
    fn a_200_of_rules_that_did_not_match_has_failed() {
        let refusal = Answer::new(200, "text/plain", "Hook rules were not satisfied.");
        Example::named("adnanh-webhook")
            .expect([hook().answers(refusal)])
            .fails("http", "Hook rules were not satisfied.");
    }

    #[test]
    fn a_command_that_failed_has_failed() {
        let words = "Error occurred while executing the hook's command.";
        let failure = Answer::new(500, "text/plain", words);
        Example::named("adnanh-webhook").expect([hook().answers(failure)]).fails("http", words);
    }
}

mod argocd {
    use super::*;

    const APPLICATION: &str = "/api/v1/applications/shop-dev";

    fn application(tag: &str) -> Answer {
        let images = json!([format!("git.example.com/acme/shop:{tag}")]);
        Answer::json(200, json!({"status": {"summary": {"images": images}}}).to_string())
    }

    fn running_by(reply: impl Into<Reply>) -> Exchange {
        let probe = probes(&format!("GET {APPLICATION}"));
        probe.header("authorization", "Bearer planted-argocd").answers(reply)
    }

    fn running(tag: &str) -> Exchange {
        running_by(application(tag))
    }

    fn asks_with_token(line: &str) -> Asked {
        asks(line).header("authorization", "Bearer planted-argocd")
    }

    fn patch() -> Asked {
        let patch = format!(r#"{{"spec":{{"source":{{"kustomize":{{"images":["{IMAGE}"]}}}}}}}}"#);
        asks_with_token(&format!("PATCH {APPLICATION}"))
            .json(json!({"name": "shop-dev", "patchType": "merge", "patch": patch}))
    }

    fn sync() -> Asked {
        asks_with_token(&format!("POST {APPLICATION}/sync")).json(json!({"name": "shop-dev"}))
    }

    #[test]
    fn is_asked_until_it_runs_the_new_image() {
        let phase = json!({"status": {"operationState": {"phase": "Succeeded"}}});
        let script = [
            running("dev-42"),
            running("dev-42"),
            patch().answers_json(200, phase.clone()),
            sync().answers_json(200, phase),
            running("dev-42"),
            running("dev-43"),
        ];
        Example::named("argocd").expect(script).ships();
    }

    #[test]
    fn a_sync_after_which_the_old_image_runs_has_failed() {
        let script = [
            running("dev-42"),
            running("dev-42"),
            patch().answers_json(200, json!({})),
            sync().answers_json(200, json!({})),
            // An answer within verify_timeout would be asked for once more.
            running_by(Reply::Drip(application("dev-42"), Duration::from_millis(1))),
        ];
        Example::named("argocd")
            .with("verify_timeout = \"10m\"", "verify_timeout = \"1ms\"")
            .expect(script)
            .fails("verify", "dev-42");
    }

    #[test]
    fn an_application_that_is_not_there_is_not_tried_again() {
        let refusal = json!({"error": "permission denied", "code": 7, "message": "permission denied"});
        let script = [running("dev-42"), running("dev-42"), patch().answers_json(403, refusal)];
        Example::named("argocd").expect(script).ends("dead", "http", "403 Forbidden");
    }
}

mod jenkins {
    use super::*;

    fn invoke() -> Asked {
        asks("POST /generic-webhook-trigger/invoke")
            .header("authorization", "Bearer planted-jenkins")
            .json(json!({"stage": "dev", "tag": "dev-43"}))
    }

    fn triggered(job: &str, triggered: bool) -> Exchange {
        let variables = json!({"stage": "dev", "tag": "dev-43"});
        let jobs = json!({(job): {"triggered": triggered, "resolvedVariables": variables, "id": 109}});
        invoke().answers_json(200, json!({"jobs": jobs, "message": "Triggered jobs."}))
    }

    #[test]
    fn queues_a_build() {
        Example::named("jenkins").expect([triggered("deploy-shop", true)]).ships();
    }

    #[test]
    fn a_200_of_a_filter_that_did_not_match_has_failed() {
        Example::named("jenkins")
            .expect([triggered("deploy-shop", false)])
            .fails("http", "/jobs/deploy-shop/triggered is false, not true");
        Example::named("jenkins")
            .expect([triggered("deploy-blog", true)])
            .fails("http", "/jobs/deploy-shop/triggered is missing");
    }

    #[test]
    fn a_403_that_repeats_the_request_does_not_show_its_token() {
        let page = "<h1>Forbidden</h1><pre>Authorization: Bearer planted-jenkins</pre>";
        let refusal = invoke().answers(Answer::new(403, "text/html", page));
        Example::named("jenkins").expect([refusal]).ends("dead", "http", "Authorization: Bearer ***");
    }

    #[test]
    fn an_answer_that_is_lost_has_failed() {
        Example::named("jenkins").expect([invoke().answers(Reply::Reset)]).fails("http", "");
    }
}

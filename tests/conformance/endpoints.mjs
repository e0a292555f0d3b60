// Every endpoint of the contract's agent surface and the SDK method that calls it: the reply's type is the method's return type, so a
// row needs nothing else. Two methods: the beta lane and the other one call the same endpoint, and the reply has to suit both.
// scored: counts in the score of `make conformance` (contract 10); the other groups are validated as soon as
// somebody builds them.
//
// A pattern's {x} stands for one segment. What is not in this table may only be refused (any status from 400 on), except OURS.
const rows = (group, scored, text) => text.trim().split('\n').map((line) => {
	const [method, pattern, sdk] = line.trim().split(/\s+/);
	return { group, scored, method, pattern, sdk: sdk.split(','), name: `${method} ${pattern}`,
		regexp: new RegExp(`^${pattern.replace(/\{[a-z]+\}/g, '[^/]+')}$`) };
});

export const ENDPOINTS = [
	...rows('agents', true, `
		POST   /v1/agents                                       beta.agents.create
		GET    /v1/agents                                       beta.agents.list
		GET    /v1/agents/{agent}                               beta.agents.retrieve
		POST   /v1/agents/{agent}                               beta.agents.update
		POST   /v1/agents/{agent}/archive                       beta.agents.archive
		GET    /v1/agents/{agent}/versions                      beta.agents.versions.list`),
	...rows('environments', true, `
		POST   /v1/environments                                 beta.environments.create
		GET    /v1/environments                                 beta.environments.list
		GET    /v1/environments/{environment}                   beta.environments.retrieve
		POST   /v1/environments/{environment}                   beta.environments.update
		DELETE /v1/environments/{environment}                   beta.environments.delete
		POST   /v1/environments/{environment}/archive           beta.environments.archive`),
	...rows('sessions', true, `
		POST   /v1/sessions                                     beta.sessions.create
		GET    /v1/sessions                                     beta.sessions.list
		GET    /v1/sessions/{session}                           beta.sessions.retrieve
		POST   /v1/sessions/{session}                           beta.sessions.update
		DELETE /v1/sessions/{session}                           beta.sessions.delete
		POST   /v1/sessions/{session}/archive                   beta.sessions.archive`),
	...rows('events', true, `
		GET    /v1/sessions/{session}/events                    beta.sessions.events.list
		POST   /v1/sessions/{session}/events                    beta.sessions.events.send
		GET    /v1/sessions/{session}/events/stream             beta.sessions.events.stream`),
	...rows('resources', true, `
		GET    /v1/sessions/{session}/resources                 beta.sessions.resources.list
		POST   /v1/sessions/{session}/resources                 beta.sessions.resources.add
		GET    /v1/sessions/{session}/resources/{resource}      beta.sessions.resources.retrieve
		POST   /v1/sessions/{session}/resources/{resource}      beta.sessions.resources.update
		DELETE /v1/sessions/{session}/resources/{resource}      beta.sessions.resources.delete`),
	...rows('threads', true, `
		GET    /v1/sessions/{session}/threads                   beta.sessions.threads.list
		GET    /v1/sessions/{session}/threads/{thread}          beta.sessions.threads.retrieve
		POST   /v1/sessions/{session}/threads/{thread}/archive  beta.sessions.threads.archive`),
	...rows('thread events', true, `
		GET    /v1/sessions/{session}/threads/{thread}/events   beta.sessions.threads.events.list
		GET    /v1/sessions/{session}/threads/{thread}/stream   beta.sessions.threads.events.stream`),
	...rows('files', true, `
		POST   /v1/files                                        beta.files.upload,files.upload
		GET    /v1/files                                        beta.files.list,files.list
		GET    /v1/files/{file}                                 beta.files.retrieveMetadata,files.retrieveMetadata
		GET    /v1/files/{file}/content                         beta.files.download,files.download
		DELETE /v1/files/{file}                                 beta.files.delete,files.delete`),
	...rows('models', true, `
		GET    /v1/models                                       beta.models.list,models.list
		GET    /v1/models/{model}                               beta.models.retrieve,models.retrieve`),
	...rows('work', false, `
		GET    /v1/environments/{environment}/work/poll         beta.environments.work.poll
		GET    /v1/environments/{environment}/work/stats        beta.environments.work.stats
		GET    /v1/environments/{environment}/work              beta.environments.work.list
		GET    /v1/environments/{environment}/work/{work}       beta.environments.work.retrieve
		POST   /v1/environments/{environment}/work/{work}       beta.environments.work.update
		POST   /v1/environments/{environment}/work/{work}/ack   beta.environments.work.ack
		POST   /v1/environments/{environment}/work/{work}/heartbeat  beta.environments.work.heartbeat
		POST   /v1/environments/{environment}/work/{work}/stop  beta.environments.work.stop`),
	...rows('vaults', true, `
		POST   /v1/vaults                                       beta.vaults.create
		GET    /v1/vaults                                       beta.vaults.list
		GET    /v1/vaults/{vault}                               beta.vaults.retrieve
		POST   /v1/vaults/{vault}                               beta.vaults.update
		DELETE /v1/vaults/{vault}                               beta.vaults.delete
		POST   /v1/vaults/{vault}/archive                       beta.vaults.archive
		POST   /v1/vaults/{vault}/credentials                   beta.vaults.credentials.create
		GET    /v1/vaults/{vault}/credentials                   beta.vaults.credentials.list
		GET    /v1/vaults/{vault}/credentials/{credential}      beta.vaults.credentials.retrieve
		POST   /v1/vaults/{vault}/credentials/{credential}      beta.vaults.credentials.update
		DELETE /v1/vaults/{vault}/credentials/{credential}      beta.vaults.credentials.delete
		POST   /v1/vaults/{vault}/credentials/{credential}/archive  beta.vaults.credentials.archive
		POST   /v1/vaults/{vault}/credentials/{credential}/mcp_oauth_validate  beta.vaults.credentials.mcpOAuthValidate`),
];

// What is answered beyond the official surface: no type of the SDK describes it.
export const OURS = [/^\/healthz$/, /^\/openapi\.json$/, /^\/docs(\/|$)/];

export function endpointOf(method, path) {
	return ENDPOINTS.find((e) => e.method === method && e.regexp.test(path));
}

// Why something of the contract is not exercised. The score prints it beside the name; what is in no row is simply not tested yet.
export const NOT_YET = [
	{ what: /^workflow_run\./, why: 'workflow runs are not built' },
	{ what: /^agent\.mcp_/, why: 'MCP servers are not built' },
	{ what: /^mcp_/, why: 'MCP servers are not built' },
	{ what: /^(session\.thread_created|agent\.thread_message_)/, why: 'several agents in one session are not built' },
	{ what: /^repository_/, why: 'repositories are not built' },
	{ what: 'credential_host_unreachable_error', why: 'sessions with vaults are not built' },
	{ what: 'POST /v1/sessions/{session}/resources/{resource}', why: 'only repositories take an update, and they are not built: files refuse it' },
	{ what: 'POST /v1/sessions/{session}/threads/{thread}/archive', why: 'only child threads can be archived, and they are not built: the primary refuses it' },
	{ what: 'user.tool_result', why: 'self-hosted environments are not built' },
];

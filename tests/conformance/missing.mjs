// Why something of the contract is not exercised. The score prints it beside the name; what is in no row is simply not tested yet.
export const NOT_YET = [
	{ what: /^workflow_run\./, why: 'workflow runs are not built' },
	{ what: /^span\.outcome_evaluation_/, why: 'outcomes are not built' },
	{ what: /^agent\.mcp_/, why: 'MCP servers are not built' },
	{ what: /^mcp_/, why: 'MCP servers are not built' },
	{ what: /^(session\.thread_created|agent\.thread_message_)/, why: 'several agents in one session are not built' },
	{ what: /^repository_/, why: 'repositories are not built' },
	{ what: 'credential_host_unreachable_error', why: 'vaults are not built' },
	{ what: 'user.tool_result', why: 'self-hosted environments are not built' },
];

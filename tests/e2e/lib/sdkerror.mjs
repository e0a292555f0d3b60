// Refusals seen through the SDK: class, status, type, message, and that the server was asked exactly as often as expected.
import assert from 'node:assert/strict';
import { Anthropic } from './client.mjs';

const CLASS = {
	400: Anthropic.BadRequestError, 401: Anthropic.AuthenticationError, 403: Anthropic.PermissionDeniedError,
	404: Anthropic.NotFoundError, 409: Anthropic.ConflictError,
};
const TYPE = {
	400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error', 404: 'not_found_error', 409: 'invalid_request_error',
};

// refused(promise, 400, /path/) → the error
export async function refused(promise, status, pattern) {
	let error;
	try {
		const got = await promise;
		assert.fail(`expected a ${status}, got ${JSON.stringify(got)?.slice(0, 300)}`);
	} catch (e) {
		if (e instanceof assert.AssertionError) throw e;
		error = e;
	}
	assert.equal(error.status, status, `expected ${status}: ${error.message}`);
	assert.ok(error instanceof CLASS[status], `${error.constructor.name} for ${status}`);
	assert.equal(error.type, TYPE[status], error.message);
	assert.match(error.requestID ?? '', /^req_/);
	if (pattern) assert.match(error.apiMessage, pattern);
	return error;
}

export const escape = (s) => s.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
export const exactly = (s) => new RegExp(`^${escape(s)}$`);
export const containing = (s) => new RegExp(escape(s));

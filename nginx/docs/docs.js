// The readable form of /openapi.json. Nothing comes from elsewhere; every text is put in as text. Nested schemas are made when they are opened,
// so that recursive ones and the union of all events cost nothing before.
'use strict';

function element(name, attributes = {}, ...children) {
	const e = document.createElement(name);
	for (const [k, v] of Object.entries(attributes)) if (v !== undefined && v !== false) e.setAttribute(k, v);
	e.append(...children.filter((c) => c !== undefined && c !== null && c !== ''));
	return e;
}

function page(doc) {
	const resolve = (v) => (v && v.$ref ? resolve(v.$ref.slice(2).split('/').reduce((o, k) => o[k], doc)) : v);
	const nameOf = (v) => v && v.$ref && v.$ref.split('/').pop();
	const isNull = (s) => s.type === 'null';

	// One line that says what a value is.
	function brief(given) {
		const s = resolve(given), name = nameOf(given);
		if (s.const !== undefined) return JSON.stringify(s.const);
		const any = s.anyOf || s.oneOf;
		if (any && !name) return any.map(brief).join(' | ');
		if (name) return name;
		if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(' | ');
		if (s.type === 'array') return `array of ${brief(s.items)}`;
		if (s.additionalProperties) return `object of ${brief(s.additionalProperties)}`;
		const type = [s.type || 'any'].flat().join(' | ');
		return s.format ? `${type} (${s.format})` : type;
	}

	function limits(given) {
		const s = resolve(given), words = [];
		const range = (lo, hi, unit) => {
			if (lo !== undefined && hi !== undefined) words.push(`${lo} to ${hi}${unit}`);
			else if (hi !== undefined) words.push(`at most ${hi}${unit}`);
			else if (lo !== undefined) words.push(`at least ${lo}${unit}`);
		};
		for (const part of [s, ...(nameOf(given) ? [] : s.anyOf || [])].map(resolve)) {
			range(part.minLength, part.maxLength, ' characters');
			range(part.minimum, part.maximum, '');
			range(part.minItems, part.maxItems, ' items');
			if (part.maxProperties !== undefined) words.push(`at most ${part.maxProperties} pairs`);
			if (part.default !== undefined) words.push(`default ${part.default}`);
		}
		return words.join(', ');
	}

	// What can be opened below a value: the objects it may be.
	function inner(given) {
		const s = resolve(given);
		if (s.type === 'array') return inner(s.items);
		const any = s.anyOf || s.oneOf;
		if (any) return any.filter((o) => !isNull(o)).flatMap((o) => (resolve(o).properties && !o.$ref ? [o] : inner(o)));
		return s.properties ? [given] : [];
	}

	function fields(s) {
		const table = element('table');
		for (const [key, value] of Object.entries(s.properties || {})) {
			const must = (s.required || []).includes(key);
			table.append(element('tr', {},
				element('td', {}, key, must ? element('span', { class: 'must' }, 'required') : ''),
				element('td', {}, ...schema(value))));
		}
		if (!table.childElementCount) return element('p', { class: 'note' }, 'No fields of its own.');
		return table;
	}

	// A value: its line, and what can be opened below it, or is open already.
	function schema(given, open) {
		const s = resolve(given), note = limits(given);
		const line = [element('span', { class: 'type' }, brief(given))];
		if (note) line.push(' ', element('span', { class: 'note' }, note));
		if (s.description) line.push(' ', element('span', { class: 'note' }, s.description));
		const variants = inner(given);
		if (!variants.length) return line;
		return [...line, ...variants.map((v) => {
			const r = resolve(v), inside = element('div', { class: 'inside' });
			if (open && variants.length === 1) inside.append(fields(r));
			const details = element('details', { open: Boolean(inside.childElementCount) }, element('summary', {}, element('code', {}, r.title || nameOf(v) || 'fields')), inside);
			details.addEventListener('toggle', () => {
				if (details.open && !inside.childElementCount) inside.append(fields(r));
			});
			return details;
		})];
	}

	function parameters(op) {
		const all = (op.parameters || []).map(resolve);
		return ['path', 'query', 'header'].flatMap((where) => {
			const these = all.filter((p) => p.in === where);
			if (!these.length) return [];
			return [element('h4', {}, `${where} parameters`), element('table', {}, ...these.map((p) => element('tr', {},
				element('td', {}, p.name, p.required ? element('span', { class: 'must' }, 'required') : ''),
				element('td', {}, ...schema(p.schema), p.description ? element('div', { class: 'note' }, p.description) : ''))))];
		});
	}

	function contents(content, open) {
		return Object.entries(content || {}).flatMap(([type, { schema: s }]) => {
			const event = s['x-event-data'];
			return [element('div', {}, element('code', {}, type), ' ', ...schema(s, open)), event ? element('div', {}, 'data: ', ...schema(event)) : ''];
		});
	}

	function responses(op) {
		const rows = Object.entries(op.responses).map(([status, given]) => {
			const r = resolve(given);
			const words = status === '200' ? [] : [element('span', {}, r.description)];
			return element('tr', {}, element('td', {}, status), element('td', {}, ...words, ...(status === '200' ? contents(r.content) : [])));
		});
		const refusals = rows.slice(1);
		return [element('h4', {}, 'replies'), element('table', {}, rows[0]),
			element('details', {}, element('summary', {}, `${refusals.length} refusals`), element('table', {}, ...refusals))];
	}

	const main = element('main', { id: 'main' }), index = element('div', { id: 'index' });
	const groups = new Map();
	for (const [path, ops] of Object.entries(doc.paths)) {
		for (const [method, op] of Object.entries(ops)) {
			const tag = (op.tags || ['Other'])[0];
			if (!groups.has(tag)) groups.set(tag, []);
			groups.get(tag).push({ path, method: method.toUpperCase(), op });
		}
	}
	const entries = [];
	main.append(element('p', {}, doc.info.description || ''), element('p', { class: 'note' }, `Version ${doc.info.version}. For programs: `,
		element('a', { href: '/openapi.json' }, 'openapi.json'), ` (OpenAPI ${doc.openapi}).`));
	for (const [tag, list] of groups) {
		index.append(element('h2', {}, tag));
		for (const { path, method, op } of list) {
			const section = element('section', { id: op.operationId },
				element('h3', {}, element('span', { class: `method ${method}` }, method), path),
				element('p', { class: 'summary' }, op.summary || ''), ...parameters(op),
				...(op.requestBody ? [element('h4', {}, 'body'), ...contents(op.requestBody.content, true)] : []), ...responses(op));
			const link = element('a', { href: `#${op.operationId}` }, element('span', { class: `verb ${method}` }, method), op.operationId.replaceAll('_', ' '));
			main.append(section);
			index.append(link);
			entries.push({ section, link, text: `${method} ${path} ${op.operationId} ${op.summary} ${section.textContent}`.toLowerCase() });
		}
	}
	document.title = `${doc.info.title}: API reference`;
	document.getElementById('title').textContent = `${doc.info.title} API`;
	document.getElementById('main').replaceWith(main);
	document.getElementById('index').replaceWith(index);
	document.getElementById('filter').addEventListener('input', (e) => {
		const words = e.target.value.toLowerCase().split(/\s+/).filter(Boolean);
		for (const { section, link, text } of entries) section.hidden = link.hidden = !words.every((w) => text.includes(w));
	});
	if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch('/openapi.json').then((r) => r.json()).then(page).catch((e) => {
	document.getElementById('main').textContent = `/openapi.json could not be read: ${e.message}`;
});

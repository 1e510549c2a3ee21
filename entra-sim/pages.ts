// The few HTML pages. Plain, readable without style sheets, and unmistakably not Microsoft's: this is a simulator, and
// a page that could be taken for the real one would be a phishing kit.

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}

const style = `
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: #eef1f5; color: #1b1f24;
    font: 16px/1.5 system-ui, sans-serif }
  main { width: min(26rem, 100vw - 4rem); background: #fff; padding: 2rem; border-radius: 12px;
    box-shadow: 0 2px 24px #0002 }
  h1 { font-size: 1.3rem; margin: 0 0 .25rem } p { margin: 0 0 1rem; color: #555 }
  small { display: inline-block; margin-bottom: 1rem; padding: .1rem .6rem; border-radius: 9px; background: #fff3cd }
  button { display: block; width: 100%; margin: .4rem 0; padding: .7rem 1rem; border: 1px solid #ccd3dc;
    border-radius: 8px; background: #fff; font: inherit; text-align: left; cursor: pointer }
  button:hover, button:focus { background: #f3f7ff; border-color: #3b6fd4 }
  button span { display: block; color: #667; font-size: .85rem } iframe { display: none }`;

export function page(title: string, content: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title>
<meta name="viewport" content="width=device-width"><style>${style}</style></head>
<body><main><small>Simulated Microsoft sign-in</small><h1>${escapeHtml(title)}</h1>${content}</main></body></html>`;
}

export function messagePage(title: string, text: string): string {
  return page(title, `<p>${escapeHtml(text)}</p>`);
}

/** Microsoft's form_post answer: a form that submits itself, with a button where scripts are off. */
export function autoSubmitPage(action: string, fields: readonly (readonly [string, string])[]): string {
  return `<!doctype html><html><head><title>Working...</title></head><body>
<form method="POST" name="hiddenform" action="${escapeHtml(action)}">${hidden(fields)}
<noscript><p>Script is disabled. Click Submit to continue.</p><input type="submit" value="Submit"></noscript></form>
<script>document.forms[0].submit();</script></body></html>`;
}

interface Choice {
  key: string;
  name: string;
  detail: string;
}

/** Where the answer goes, and which authorization request it belongs to. */
interface Question {
  action: string;
  waiting: string;
}

/** Asks who signs in. */
export function pickerPage(appName: string, { action, waiting }: Question, choices: readonly Choice[]): string {
  const buttons = choices.map(
    ({ key, name, detail }) =>
      `<button name="user" value="${escapeHtml(key)}">${escapeHtml(name)}<span>${escapeHtml(detail)}</span></button>`,
  );
  return page(
    'Pick an account',
    `<p>to continue to ${escapeHtml(appName)}</p>
<form method="POST" action="${escapeHtml(action)}">${hidden([['waiting', waiting]])}${buttons.join('')}
<p><label><input type="checkbox" name="mfa" value="long"> MFA takes long</label></p>
<button name="cancel" value="yes">Cancel</button></form>`,
  );
}

/** The second factor that takes its time: continues by itself after `seconds`, or at once when approved. */
export function mfaPage(question: Question, user: string, startedSeconds: number, seconds: number): string {
  const { action, waiting } = question;
  const fields: [string, string][] = [
    ['waiting', waiting],
    ['user', user],
    ['started', String(startedSeconds)],
  ];
  return page(
    'Approve sign-in request',
    `<p>Open your authenticator app. This takes ${seconds} seconds.</p>
<form method="POST" action="${escapeHtml(action)}">${hidden(fields)}
<button name="mfa" value="approved">Approve now</button><button name="cancel" value="yes">Cancel</button></form>
<script>setTimeout(() => document.querySelector('[value=approved]').click(), ${seconds * 1000});</script>`,
  );
}

/** Entra's sign-out page: every front-channel URL in a hidden frame, then on to the application. */
export function signedOutPage(frames: readonly string[], next: string | undefined): string {
  const iframes = frames.map((url) => `<iframe src="${escapeHtml(url)}"></iframe>`).join('');
  const link =
    next === undefined
      ? ''
      : `<p><a id="next" href="${escapeHtml(next)}">Continue</a></p>
<script>addEventListener('load', () => location.replace(document.getElementById('next').href));</script>`;
  const advice = '<p>It is a good idea to close all browser windows.</p>';
  return page('You signed out of your account', `${advice}${link}${iframes}`);
}

export function hidden(fields: readonly (readonly [string, string])[]): string {
  return fields
    .map(([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`)
    .join('');
}

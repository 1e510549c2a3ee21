import { createApp } from 'vue';
import App from '../../vue-spa/src/App.vue';
import '../../vue-spa/src/style.css';
import { openSession } from './auth.ts';

createApp(App).mount('#app');
void openSession();

import { createApp } from 'vue';
import App from './App.vue';
import { openSession } from './auth.ts';
import './style.css';

createApp(App).mount('#app');
void openSession();
